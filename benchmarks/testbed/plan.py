"""What is measured, and how many samples there is time for: estimated before it runs, from the machines' speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.alternatives import CURVE_LINK_ONLY, uses_link
from benchmarks.testbed.schema import Alternative

PAYLOAD = {"raw": 3100.0, "png": 2300.0, "webp": 1000.0, "jpeg": 1100.0}
"""Bytes of a small picture, for the estimate alone."""

LEAST = 5
"""Samples below which a median says nothing: such a run is passed over."""

MAIN_SHARE = 0.8
"""Of the time, that the main profile may take where there are others: its samples are worth more."""

OVERHEAD_S = 1.0
"""Of each run: connecting, warming up."""

MESSAGE_S = 0.0015
MEAN_SHARE = 0.5
"""Timesteps of early exit to T, roughly."""


@dataclass(frozen=True)
class Speeds:
    """Seconds of a timestep, and bytes of one of the split's frames."""

    head_s: float
    whole_edge_s: float
    tail_s: float
    whole_cloud_s: float
    float32_bytes: float
    timesteps: int


@dataclass(frozen=True)
class Planned:
    """One run: `n` of `asked` samples fit into the time, at about `each_s` a sample."""

    alternative: Alternative
    link: LinkProfile
    edge: str
    asked: int
    n: int
    each_s: float

    @property
    def seconds(self) -> float:
        """Estimated, of the whole run."""
        return OVERHEAD_S + self.n * self.each_s


def plan(
    alternatives: Sequence[Alternative],
    links: Sequence[LinkProfile],
    edges: Sequence[str],
    speeds: Mapping[str, Speeds],
    *,
    main: tuple[str, str],
    n: int,
    n_others: int,
    seconds: float,
) -> list[Planned]:
    """The runs in order, the main profile's first, cut to `seconds` all in all: the longest ones lose samples first.

    The main profile has all alternatives; other links those that a link makes a difference to; other edges those of the
    main link. `n` 0: there is no time for it.
    """
    ordered = sorted(links, key=lambda link: link.name != main[0])
    wanted = []
    for link in ordered:
        for edge in sorted(edges, key=lambda name: name != main[1]):
            is_main = (link.name, edge) == main
            if edge != main[1] and link.name != main[0]:
                continue
            for alternative in alternatives:
                if is_main or (
                    alternative.name not in CURVE_LINK_ONLY
                    and (uses_link(alternative) or link.name == main[0])
                ):  # fmt: skip
                    each = estimate(alternative, link, speeds[edge])
                    count = n if is_main else n_others
                    wanted.append(Planned(alternative, link, edge, count, count, each))
    first = [run for run in wanted if (run.link.name, run.edge) == main]
    others = [run for run in wanted if (run.link.name, run.edge) != main]
    kept = _cut(first, seconds * (MAIN_SHARE if others else 1.0))
    return [*kept, *_cut(others, seconds - sum(run.seconds for run in kept))]


def estimate(alternative: Alternative, link: LinkProfile, speeds: Speeds) -> float:
    """Seconds of a sample, roughly."""
    steps = speeds.timesteps * (MEAN_SHARE if alternative.early_exit else 1.0)
    way = link.rtt_ms / 1000 + MESSAGE_S
    if alternative.kind == "edge":
        return steps * speeds.whole_edge_s
    if alternative.kind == "fallback":
        return steps * speeds.head_s
    if alternative.kind == "picture":
        assert alternative.codec is not None
        return way + PAYLOAD[alternative.codec] / _rate(link) + steps * speeds.whole_cloud_s + MESSAGE_S
    if alternative.kind == "float32" or alternative.network == "uncompressed":
        payload = speeds.float32_bytes / (1 if alternative.kind == "float32" else 32)
    else:
        payload = 100.0
    trips = 1.0 if alternative.lookahead == "auto" else steps
    return trips * way + steps * (payload / _rate(link) + speeds.head_s + speeds.tail_s)


def _cut(wanted: Sequence[Planned], seconds: float) -> list[Planned]:
    """Bound each run's time by the same number of seconds, the largest with which all fit."""
    low, high = 0.0, max((run.seconds for run in wanted), default=0.0)
    if sum(run.seconds for run in wanted) <= seconds:
        return list(wanted)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(_bound(run, middle).seconds for run in wanted) <= seconds else (low, middle)
    return [_bound(run, low) for run in wanted]


def _bound(run: Planned, seconds: float) -> Planned:
    n = min(run.n, int(max(seconds - OVERHEAD_S, 0.0) / run.each_s))
    return Planned(run.alternative, run.link, run.edge, run.asked, n if n >= LEAST else 0, run.each_s)


def _rate(link: LinkProfile) -> float:
    """Bytes a second upwards."""
    return (link.up_mbit or 10_000.0) * 1e6 / 8
