"""The whole testbed in one run: firing rates, what is measured between the processes, judged."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.dataset_samples import samples_of
from benchmarks.record import Findings
from benchmarks.testbed.environments import open_environment
from benchmarks.testbed.goals import goals
from benchmarks.testbed.networks import measure_network, trace
from benchmarks.testbed.options import options_of
from benchmarks.testbed.runner import TestbedRunner
from benchmarks.testbed.samples_file import write_samples
from benchmarks.testbed.schema import to_results
from shared.bundle import Bundle
from shared.errors import ConfigError

RATES_OF = 200
"""Pictures over which firing rates are measured, the first ones."""

TRACES = 6


def measure(folder: Path, quick: bool, **settings: Any) -> Findings:
    """Run it with the options of `neucodex-bench testbed`; samples.npz goes into `folder`.

    Raises:
        ConfigError: something asked for is not there.
    """
    options = options_of(quick, settings)
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("the testbed gives edge and cloud a core each, which needs Linux: run it there")
    bundles = {"bottleneck": Bundle.open(options.bundle), "uncompressed": Bundle.open(options.uncompressed)}
    if bundles["bottleneck"].manifest.network.input_kind != "static":
        raise ConfigError(f"bundle {options.bundle} takes events: the testbed compares pictures")
    most = max(options.n, options.n_others)
    samples = samples_of(bundles["bottleneck"], options.dataset, options.data, most)
    console = Console(stderr=True)
    console.print("measuring firing rates")
    few = samples[: 20 if options.quick else RATES_OF]
    networks = {name: measure_network(bundle, few) for name, bundle in bundles.items()}
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as there,
        open_environment(options.edge_host, options.cloud_host, options.edge_interface) as environment,
    ):
        testbed = TestbedRunner(options, bundles, networks, environment, Path(there), console).run()
    testbed = replace(testbed, traces=trace(bundles["bottleneck"], samples[:TRACES]))
    write_samples(testbed, folder)
    n = {run.key: run.n for run in testbed.runs}
    return Findings(n=n, results=to_results(testbed), targets=goals(testbed))
