"""What issue and paper ask of the testbed, judged on the main profile and, where they say so, on slower links."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.record import Target
from benchmarks.testbed import reasons
from benchmarks.testbed.schema import Figure, Run, Testbed
from shared.network_spec import FLOAT_BITS

PAIR = "full"
JPEG = "jpeg-90"
FASTER_THAN_LAN_MS = 1.0
"""Round trips below are LAN's or loopback's."""


def targets(found: Testbed) -> list[Target]:
    """Each figure with its goal, and why it is what it is; None where it was not measured."""
    return [_bits(found), *_bytes(found), _accuracy(found), *_curves(found), *_latency(found), _energy(found)]


def _bits(found: Testbed) -> Target:
    network = found.networks["bottleneck"]
    ratio = FLOAT_BITS * math.prod(network.split_shape) / math.prod(network.frame_shape)
    return Target("payload bits of float32 features : of the pair's frame, a timestep", 2048, ratio, "ratio", "higher")


def _bytes(found: Testbed) -> list[Target]:
    pair, jpeg = found.run(PAIR), found.run(JPEG)
    goals = (
        ("payload_bytes", 10.0, "payload bytes", reasons.of_payload),
        ("link_bytes", 5.0, "bytes on the link", reasons.of_link),
    )
    return [
        Target(
            f"JPEG q90's {title} : the pair's",
            goal,
            _ratio(_mean(jpeg, column), _mean(pair, column)),
            "ratio",
            "higher",
            _note(found, pair, jpeg, why=why(found, pair, jpeg) if pair and jpeg else ""),
        )
        for column, goal, title, why in goals
    ]


def _accuracy(found: Testbed) -> Target:
    """Of the same pictures: the uncompressed network at full T on the edge."""
    pair, whole = found.run(PAIR), found.run("edge-only")
    lost = found.drop(whole, pair)
    return Target(
        "accuracy of the uncompressed network at full T - the pair's",
        1.0,
        None if lost is None else round(lost.points, 2),
        "points",
        "lower",
        _note(found, pair, whole)
        if pair is None or lost is None
        else _joined(lost.of, reasons.of_accuracy(found, pair)),
    )


def _curves(found: Testbed) -> list[Target]:
    """Of the picture files at least as accurate as the pair, the one of fewest bytes: the pair must need fewer.

    Where none is as accurate, of the most accurate ones.
    """
    pair = found.run(PAIR)
    files = [
        run
        for alternative in found.alternatives
        if alternative.codec is not None and (run := found.run(alternative.name)) is not None
    ]
    asked = min(_share(pair.accuracy if pair else None), max((_share(run.accuracy) for run in files), default=0.0))
    rivals = [run for run in files if _share(run.accuracy) >= asked]
    made = []
    for column, title in (("payload_bytes", "payload bytes"), ("link_bytes", "bytes on the link")):
        best = min(rivals, key=lambda run: _mean(run, column) or math.inf, default=None)
        made.append(
            Target(
                f"{title} of the smallest picture file that is as accurate, or else of the most accurate : the pair's",
                1.0,
                _ratio(_mean(best, column), _mean(pair, column)),
                "ratio",
                "higher",
                "no picture file was sent" if pair is None or best is None else _rival(best, pair),
            )
        )
    return made


def _rival(file: Run, pair: Run) -> str:
    theirs, ours = (100 * _share(run.accuracy) for run in (file, pair))
    said = f"that file: {file.alternative}, {theirs:.2f} % accurate beside the pair's {ours:.2f} %"
    return said if theirs >= ours else f"{said}: none is as accurate"


def _latency(found: Testbed) -> list[Target]:
    pair, whole = found.run(PAIR), found.run("edge-only")
    made = [
        Target(
            "median latency of edge only : the pair's",
            3.0,
            _ratio(_median(whole), _median(pair)),
            "ratio",
            "higher",
            _note(found, pair, whole),
        )
    ]
    for link in found.links:
        if link.asked.rtt_ms > FASTER_THAN_LAN_MS:
            here, jpeg = (found.run(name, link.asked.name, found.main[1]) for name in (PAIR, JPEG))
            made.append(
                Target(
                    f"median latency of cloud only, JPEG q90 : the pair's, {link.asked.name}",
                    1.0,
                    _ratio(_median(jpeg), _median(here)),
                    "ratio",
                    "higher",
                    _note(found, here, jpeg, why=reasons.of_latency(found, here, jpeg) if here and jpeg else ""),
                )
            )
    return made


def _energy(found: Testbed) -> Target:
    pair, whole = found.run(PAIR), found.run("edge-only")
    ratio = _ratio(*(run.joules if run else None for run in (pair, whole)))
    return Target(
        "edge energy below edge only, radio included",
        90.0,
        None if ratio is None else round(100 * (1 - ratio), 1),
        "%",
        "higher",
        f"{found.energy}; {_note(found, pair, whole, why=reasons.of_energy(pair, whole) if pair and whole else '')}",
    )


def _note(found: Testbed, *runs: Run | None, why: str = "") -> str:
    if any(run is None for run in runs):
        return "not measured in this run"
    known: Sequence[Run] = [run for run in runs if run is not None]
    link = known[0].link
    return _joined(f"n = {' and '.join(str(run.n) for run in known)}, {link}, edge {found.main[1]}", why)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _share(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.mean or 0.0


def _mean(run: Run | None, column: str) -> float | None:
    return None if run is None else run.mean(column)


def _median(run: Run | None) -> float | None:
    return None if run is None else run.median("latency_ms")


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else round(one / other, 3)
