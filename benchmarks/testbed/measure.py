"""The whole testbed in one run: firing rates, what is measured between the processes, judged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.dataset_samples import samples_of
from benchmarks.record import Findings
from benchmarks.testbed.environments import open_environment
from benchmarks.testbed.fitting import fit_files, with_qualities
from benchmarks.testbed.goals import goals
from benchmarks.testbed.kept import Kept
from benchmarks.testbed.networks import measure_network, trace
from benchmarks.testbed.options import TestbedOptions, options_of
from benchmarks.testbed.plain_export import write_plain
from benchmarks.testbed.runner import TestbedRunner
from benchmarks.testbed.samples_file import write_samples
from benchmarks.testbed.schema import FittedFile, to_results
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.plain_data import dataclass_from
from training.data import Samples, bundle_data

RATES_OF = 200
"""Pictures over which firing rates are measured, the first ones."""

TRACES = 6


def measure(folder: Path, quick: bool, **settings: Any) -> Findings:
    """Run it with the options of `neucodex-bench testbed`; samples.npz goes into `folder`.

    A run that was cut goes on where it stopped, if it is asked for the same.

    Raises:
        ConfigError: something asked for is not there.
    """
    options = options_of(quick, settings)
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("the testbed gives edge and cloud a core each, which needs Linux: run it there")
    bundles = {"bottleneck": Bundle.open(options.bundle), "uncompressed": Bundle.open(options.uncompressed)}
    if bundles["bottleneck"].manifest.network.input_kind != "static":
        raise ConfigError(f"bundle {options.bundle} takes events: the testbed compares pictures")
    if bundles["bottleneck"].execution == "rate":  # files are read in one pass then: no exit could be left out
        told_apart = [each for each in options.alternatives if each.kind != "picture" or each.early_exit]
        options = replace(options, alternatives=tuple(told_apart))
    most = max(options.n, options.n_others)
    samples = samples_of(bundles["bottleneck"], options.dataset, options.data, most)
    console = Console(stderr=True)
    console.print("measuring firing rates")
    few = samples[: 20 if options.quick else RATES_OF]
    networks = {name: measure_network(bundle, few) for name, bundle in bundles.items()}
    kept = Kept(folder, {name: value for name, value in vars(options).items() if name != "minutes"})
    files = _fit_rivals(bundles, options, kept, console)
    options = replace(options, alternatives=with_qualities(options.alternatives, files))
    with (
        tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as there,
        open_environment(options.edge_host, options.cloud_host, options.edge_interface) as environment,
    ):
        testbed = TestbedRunner(options, bundles, networks, environment, Path(there), console, kept).run()
    testbed = replace(testbed, fitted=files, traces=trace(bundles["bottleneck"], samples[:TRACES]))
    write_samples(testbed, folder)
    kept.clear()
    n = {run.key: run.n for run in testbed.runs}
    return Findings(n=n, results=to_results(testbed), targets=goals(testbed))


def _fit_rivals(
    bundles: Mapping[str, Bundle], options: TestbedOptions, kept: Kept, console: Console
) -> tuple[FittedFile, ...]:
    """Write the plain network, and fit the qualities of picture files; both are kept."""

    def fit() -> list[dict[str, Any]]:
        console.print("writing the plain network")
        held_out = bundle_data(bundles["bottleneck"], options.data, options.dataset).held_out
        write_plain(bundles["uncompressed"], held_out.frames.numpy(), kept.folder)
        console.print("fitting the qualities of picture files")
        chosen = Samples(held_out.frames[: options.n_fit], held_out.labels[: options.n_fit])
        cores = len(os.sched_getaffinity(0))
        return [vars(each) for each in fit_files(bundles["bottleneck"], chosen, kept.folder, cores)]

    return tuple(dataclass_from(FittedFile, each) for each in kept.value("fitted", fit))
