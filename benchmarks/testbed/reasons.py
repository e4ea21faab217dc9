"""Why a goal is where it is, in the record's own figures: what stands beside a target in the report."""

from __future__ import annotations

from benchmarks.testbed.record_form import Run, Testbed


def of_payload(pair: Run, jpeg: Run) -> str:
    """How many bytes each sends of a picture."""
    steps = pair.mean("timesteps") or 1.0
    ours, theirs = (run.mean("payload_bytes") or 0.0 for run in (pair, jpeg))
    return f"a picture is {steps:.2f} frames of {ours / steps:.0f} bytes, its file {theirs:.0f} bytes"


def of_link(pair: Run, jpeg: Run) -> str:
    """What share of the bytes on the link is spikes."""
    ours, theirs = (_beside(run) for run in (pair, jpeg))
    return (
        f"beside the payload the pair's frames and answers cost {ours:.0f} bytes, one file and one answer {theirs:.0f}"
    )


def of_accuracy(found: Testbed, pair: Run) -> str:
    """What of the drop is the bottleneck's, and what the early exit's."""
    whole, full_t = found.run("edge-only"), found.run("bottleneck-full-t")
    bottleneck = found.drop(whole, full_t)
    early = found.drop(full_t, pair)
    if bottleneck is None or early is None:
        return ""
    return f"{bottleneck[0]:.2f} of it by the bottleneck, {early[0]:.2f} by the early exit"


def of_latency(found: Testbed, pair: Run) -> str:
    """What the edge's head takes of it, which a file does not need, and whether lockstep would do better."""
    head, ours = pair.mean("head_ms") or 0.0, pair.median("latency_ms") or 0.0
    said = f"the head takes {head:.0f} ms of a sample on the edge, a file needs none"
    lockstep = found.run("bottleneck-exit", pair.link, pair.edge)
    there = None if lockstep is None else lockstep.median("latency_ms")
    if there is not None and there < ours:
        said += f"; in lockstep the median is {there:.1f} ms instead of {ours:.1f}"
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


def _beside(run: Run) -> float:
    return (run.mean("link_bytes") or 0.0) - (run.mean("payload_bytes") or 0.0)
