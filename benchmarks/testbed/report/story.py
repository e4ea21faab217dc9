"""What NeuCODEX is, when to use it and when not: the first words of the report, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.testbed.goals import PAIR, WHOLE, equal_files, smallest_equal_file
from benchmarks.testbed.schema import Testbed, TestbedRun

WHAT = (
    "NeuCODEX is one neural network on two machines. A small computer with a camera runs the first layers and sends a "
    "few dozen bytes of spikes, not the picture. A server runs the rest, and says after each round how sure it is. "
    "The camera stops when that is enough, mostly after the first."
)


@dataclass(frozen=True)
class Story:
    """`what` it is; reasons for it and against it."""

    what: str
    use: tuple[str, ...]
    leave: tuple[str, ...]


def story(found: Testbed) -> Story:
    """The first words. A reason stands where its figure says so, for or against."""
    use, leave = list[str](), list[str]()
    for good, text in _reasons(found):
        (use if good else leave).append(text)
    leave.append(
        "If you need the picture itself at the server, for people or for another network, send the picture: the spikes "
        "answer one question."
    )
    return Story(WHAT, tuple(use), tuple(leave))


def _reasons(found: Testbed) -> Iterator[tuple[bool, str]]:
    runs = {alternative.name: run for alternative, run in found.main_runs()}
    pair, whole, file = runs.get(PAIR), runs.get(WHOLE), smallest_equal_file(found)
    if pair is None:
        return
    if file is not None and (ours := pair.mean("link_bytes")) and (theirs := file.mean("link_bytes")):
        payload = (pair.mean("payload_bytes") or 0.0, file.mean("payload_bytes") or 0.0)
        yield (
            theirs > ours,
            (
                f"Bytes: a sample is {ours:,.0f} bytes on the link, the smallest file as accurate {theirs:,.0f} "
                f"({payload[0]:,.0f} and {payload[1]:,.0f} without what carries them)."
            ),
        )
    faster, slower = _links(found)
    if faster:
        yield True, f"Latency over {', '.join(faster)}: lower than any file as accurate."
    if slower:
        yield False, f"Latency over {', '.join(slower)}: a file is there sooner, because no head has to run first."
    plain = [run for name, run in runs.items() if name.startswith("plain-")]
    for run in [*([whole] if whole else []), *plain]:
        yield _beside(found, pair, run)


def _links(found: Testbed) -> tuple[list[str], list[str]]:
    faster, slower = list[str](), list[str]()
    for link in found.links:
        ours = (run := found.run(PAIR, link.asked.name)) and run.median("latency_ms")
        theirs = [m for run in equal_files(found, link.asked.name) if (m := run.median("latency_ms"))]
        if ours and theirs:
            (faster if ours <= min(theirs) else slower).append(link.asked.name)
    return faster, slower


def _beside(found: Testbed, pair: TestbedRun, alone: TestbedRun) -> tuple[bool, str]:
    """An edge that does all of it, beside the pair: for it where the pair is faster."""
    titles = {alternative.name: alternative.title for alternative in found.alternatives}
    ours, theirs = (run.median("latency_ms") or 0.0 for run in (pair, alone))
    said = f"Beside {titles[alone.alternative]}: {ours:.0f} ms instead of {theirs:.0f}"
    if pair.dynamic_j and alone.dynamic_j:
        said += f", {1e3 * pair.dynamic_j:.0f} mJ on a {found.board} instead of {1e3 * alone.dynamic_j:.0f}"
    accuracy = f"{100 * (pair.accuracy.mean or 0.0):.1f} % accurate instead of {100 * (alone.accuracy.mean or 0.0):.1f}"
    return ours < theirs, f"{said}, {accuracy}."
