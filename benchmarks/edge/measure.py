"""All measurements of the edge in one run, under one record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.edge import ahead, cuts, dead_link, heads, overhead, start_up
from benchmarks.edge.part import Part, Rig
from benchmarks.load.processes import prepare_process
from benchmarks.record import Findings

MEASUREMENTS: dict[str, Callable[[Rig], Part]] = {
    "heads": heads.measure,
    "start-up": start_up.measure,
    "overhead": overhead.measure,
    "lookahead": ahead.measure,
    "cuts": cuts.measure,
    "dead-link": dead_link.measure,
}


def measure(bundle: Path, dataset: str, data: Path | None, only: Sequence[str], quick: bool) -> Findings:
    """Run them one after the other.

    Args:
        bundle: of pictures; its network is what is run.
        dataset: what the bundle was trained on; its test part is classified.
        data: where that is.
        only: names of measurements; all if none.
        quick: less of everything.
    """
    prepare_process()
    with tempfile.TemporaryDirectory(prefix="neucodex-edge-") as folder:
        rig = Rig(bundle, dataset, data, Path(folder), quick)
        parts = {name: MEASUREMENTS[name](rig) for name in only or MEASUREMENTS}
    return Findings(
        n={name: part.n for name, part in parts.items()},
        results={name: part.results for name, part in parts.items()},
        targets=[target for part in parts.values() for target in part.targets],
    )
