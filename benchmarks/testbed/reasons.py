"""Why a goal is where it is, in the record's own figures: what stands beside a target in the report."""

from __future__ import annotations

from benchmarks.testbed.schema import Run, Testbed

LOCKSTEP, LOCAL_FIRST = "bottleneck-exit", "full-local-first"
"""Other ways of running the pair, chosen by a flag: in lockstep; with the local exit asked before anything is sent."""


def of_payload(found: Testbed, pair: Run, jpeg: Run) -> str:
    """How many bytes each sends of a picture, and whether another way of running the pair would send fewer."""
    steps = pair.mean("timesteps") or 1.0
    ours, theirs = (run.mean("payload_bytes") or 0.0 for run in (pair, jpeg))
    said = f"a picture is {steps:.2f} frames of {ours / steps:.0f} bytes, its file {theirs:.0f} bytes"
    return said + _other_ways(found, pair, jpeg, "payload_bytes")


def of_link(found: Testbed, pair: Run, jpeg: Run) -> str:
    """What share of the bytes on the link is spikes, and whether another way of running the pair would need fewer."""
    ours, theirs = (_beside(run) for run in (pair, jpeg))
    said = (
        f"beside the payload the pair's frames and answers cost {ours:.0f} bytes, one file and one answer {theirs:.0f}"
    )
    return said + _other_ways(found, pair, jpeg, "link_bytes")


def of_accuracy(found: Testbed, pair: Run) -> str:
    """What of the drop is the bottleneck's, and what the early exit's."""
    whole, full_t = found.run("edge-only"), found.run("bottleneck-full-t")
    bottleneck = found.drop(whole, full_t)
    early = found.drop(full_t, pair)
    if bottleneck is None or early is None:
        return ""
    return f"{bottleneck.points:.2f} of it by the bottleneck, {early.points:.2f} by the early exit"


def of_latency(found: Testbed, pair: Run, jpeg: Run) -> str:
    """What the edge's head takes of it, which a file does not need, and whether another way of running is faster."""
    head, ours = pair.mean("head_ms") or 0.0, pair.median("latency_ms") or 0.0
    said = f"the head takes {head:.0f} ms of a sample on the edge, a file needs none"
    lockstep, first = (found.run(name, pair.link, pair.edge) for name in (LOCKSTEP, LOCAL_FIRST))
    there = None if lockstep is None else lockstep.median("latency_ms")
    if there is not None and there < ours:
        said += f"; in lockstep the median is {there:.1f} ms instead of {ours:.1f}"
    local, file = (None if run is None else run.mean("latency_ms") for run in (first, jpeg))
    if local is not None and file is not None and local < file:
        said += f"; with the local exit asked first the mean is {local:.1f} ms, a file's {file:.1f}"
    return said


def of_energy(pair: Run, whole: Run) -> str:
    """What the radio does to it."""
    compute, alone = pair.mean("compute_j") or 0.0, whole.mean("compute_j")
    if not alone:
        return ""
    radio = (pair.mean("radio_j") or 0.0) / (pair.joules or 1.0)
    return (
        f"the radio is {100 * radio:.0f} % of the pair's, edge only sends nothing; "
        f"computing alone is {100 * (1 - compute / alone):.1f} % less"
    )


def _other_ways(found: Testbed, pair: Run, jpeg: Run, column: str) -> str:
    """The file's bytes over those of the pair run in other ways, where these need fewer."""
    ours, theirs = (run.mean(column) or 0.0 for run in (pair, jpeg))
    said = ""
    for alternative in found.alternatives:
        run = found.run(alternative.name, pair.link, pair.edge) if alternative.name in (LOCKSTEP, LOCAL_FIRST) else None
        if run is not None and theirs and 0.0 < (there := run.mean(column) or 0.0) < ours:
            said += f"; {alternative.title}: {theirs / there:.1f} at {100 * (run.accuracy.mean or 0.0):.2f} % accuracy"
    return said


def _beside(run: Run) -> float:
    return (run.mean("link_bytes") or 0.0) - (run.mean("payload_bytes") or 0.0)
