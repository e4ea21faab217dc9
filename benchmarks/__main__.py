"""`neucodex-bench`: each benchmark writes one record, benchmarks/records/<date>-<what>/record.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.processes import end_as_ctrl_c
from benchmarks.record import Clock, Findings
from shared.boards import boards
from shared.command_line import option, run, version_option

F = TypeVar("F", bound=Callable[..., Any])
DIGITS = Path("models/resnet18-digits")
RECORDS = Path("benchmarks/records")
PATH = click.Path(path_type=Path)
COUNT = click.IntRange(min=1)
EDGE_PARTS = ("heads", "start-up", "overhead", "lookahead", "cuts", "dead-link")

out_option = option("--out", type=PATH, help="The record's folder.")
quick_option = option("--quick", is_flag=True, help="Less of everything: does it run, not how fast is it.")
bundle_option = option("--bundle", type=PATH, default=DIGITS, help="The bundle that is run.")
threads_option = option("--threads", type=COUNT, help="CPU threads of a tail step; one core is left free by default.")
record_option = option("--record", type=PATH, help="The testbed's record; else the newest committed one.")


def data_options(command: F) -> F:
    """Add --dataset and --data."""
    command = option("--data", type=PATH, help="Where the data set is, if it is not in the package.")(command)
    return option("--dataset", default="digits", help="What the bundle was trained on.")(command)


@click.group()
@version_option
def main_group() -> None:
    """Measure NeuCODEX; every figure in the documentation comes from here."""
    end_as_ctrl_c()


def _benchmark(
    name: str,
    what: str,
    *options: Callable[[Any], Any],
    module: str | None = None,
    leaves_files: bool = False,
    is_test: bool = False,
) -> None:
    """Add a command with --out and `options` that calls `measure` of a module and writes its record.

    The module is imported when the command runs: each imports what it alone needs.

    Args:
        name: of the command.
        what: its help.
        options: of `measure`.
        module: within `benchmarks`, if it is not called as the command is.
        leaves_files: `measure` is given the record's folder first.
        is_test: the exit code is 1 where a goal was missed.
    """

    def command(out: Path | None, **how: Any) -> int:
        measure = import_module(f"benchmarks.{module or name.replace('-', '_')}").measure
        folder = out or RECORDS / f"{date.today().isoformat()}-{name}"
        clock = Clock(name)
        findings: Findings = measure(*([folder] if leaves_files else []), **how)
        click.echo(f"record: {clock.write(findings, folder)}")
        for goal in findings.targets:
            click.echo(f"{goal.verdict:>12}  {goal.name}: {goal.reads} (goal {goal.asks}) {goal.note}")
        return int(is_test and any(goal.met is False for goal in findings.targets))

    for add in (*reversed(options), out_option):
        command = add(command)
    main_group.command(name, help=what)(command)


_benchmark(
    "train",
    "Samples a second of a training step: ours and plain snnTorch, quantised and spiking.",
    quick_option,
    option("--threads", type=COUNT, help="CPU threads; PyTorch's choice if not given."),
    option("--batch", type=click.IntRange(min=2), default=64, help="Samples in a training step."),
)
_benchmark(
    "codec",
    "Bytes and times of the spike codec and of what else one could send.",
    quick_option,
    bundle_option,
    data_options,
    option("--allow-partial", is_flag=True, help="Take the data set although recordings of it are missing."),
    option("--limit", type=COUNT, default=2000, help="Samples of each part."),
)
_benchmark("scans", "Bytes of the held-out digits as they were scanned.")
_benchmark(
    "large-jpegs",
    "What it costs in accuracy that large JPEGs are decoded at a part of their size.",
    quick_option,
    option("--bundle", type=PATH, default=Path("models/resnet18-cifar10"), help="What classifies."),
    option("--data", type=PATH, required=True, help="Holds 101_ObjectCategories."),
)
_benchmark("messages", "What a frame and its answer cost on the wire beyond the spikes.", quick_option, bundle_option)
_benchmark(
    "datagrams",
    "Bytes on the link by gRPC, and by a prototype of QUIC datagrams. Needs root.",
    bundle_option,
    data_options,
    option("--limit", type=COUNT, default=200, help="Samples sent."),
)
_benchmark(
    "serving",
    "Throughput, latency and limits of one cloud process under a fleet, beside the same tail in a bare loop.",
    quick_option,
    bundle_option,
    option("--full-width", is_flag=True, help="Serve an untrained full-width ResNet-18 of CIFAR-10's size instead."),
    data_options,
    option("--streams", type=COUNT, multiple=True, help="Streams open at once; 1, 8, 64 and 256 if none."),
    threads_option,
    option("--max-batch", type=COUNT, default=32, help="Samples stepped together at most."),
    option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What the tails run on."),
    option("--limit", type=COUNT, help="Pictures sent; all of the test part if not given."),
)
_benchmark(
    "edge",
    "The edge: its head by each runtime, start and memory; with a cloud: overhead, slow links, a link that is cut.",
    quick_option,
    bundle_option,
    data_options,
    option("--only", multiple=True, type=click.Choice(EDGE_PARTS), help="One measurement; all if none."),
    module="edge.measure",
)
_benchmark(
    "soak",
    "Send frames for a long time and see whether the cloud grows. Exit code 1 if it does.",
    bundle_option,
    option("--tiny", is_flag=True, help="Serve a tiny untrained network: the same frames in a fraction of the time."),
    data_options,
    option("--frames", type=COUNT, default=1_000_000, help="Stop after so many answered frames."),
    option("--streams", type=COUNT, default=64, help="Open at once."),
    option("--stretch", type=click.FloatRange(min=0.1), default=10.0, help="Seconds of load between two looks."),
    threads_option,
    is_test=True,
)
_benchmark(
    "faults",
    "Break clouds, links, edges, disk and clock at random, and see whether a verdict changes. Exit code 1 then.",
    bundle_option,
    data_options,
    option("--minutes", type=click.FloatRange(min=0.1), default=30.0, help="How long things break."),
    option("--seed", type=int, default=1, help="Of what breaks, when and for how long."),
    option("--samples", type=COUNT, default=2000, help="Pictures that each round classifies."),
    module="faults.measure",
    is_test=True,
)
_benchmark(
    "fairness",
    "What an honest edge feels of hostile ones that send as much as they can.",
    bundle_option,
    data_options,
    option("--identities", type=COUNT, default=20, help="Hostile edges, each with a token of its own."),
    option("--streams", type=COUNT, default=20, help="That they have open, all together."),
    option("--rounds", type=COUNT, default=5, help="With and without them, in turns."),
    option("--samples", type=COUNT, default=300, help="That the honest edge classifies in a round."),
    option("--rate", type=click.FloatRange(min=0.1), default=20.0, help="Of the honest edge, samples a second."),
)
_benchmark(
    "event-simulation",
    "Simulated events beside the two real recordings whose picture is known.",
    option("--data", type=PATH, required=True, help="Holds events/samples and the data sets."),
    leaves_files=True,
)
_benchmark(
    "events",
    "Events as spikes beside raw events, their best lossless form, counts and binary frames; and a live stream.",
    option("--bundle", type=PATH, default=Path("models/vgg16-nmnist"), help="The bundle that is run."),
    option("--data", type=PATH, required=True, help="Holds N-MNIST."),
    option("--links", multiple=True, default=("wifi", "lte", "lora"), help="Links between edge and cloud."),
    option("--per-class", type=COUNT, help="Recordings of each class; all if not given."),
    option("--seconds", type=click.FloatRange(min=1), default=60.0, help="Of each live stream."),
    option("--window-ms", "windows_ms", type=COUNT, multiple=True, default=(50, 350), help="Windows of live streams."),
    module="events.measure",
    leaves_files=True,
)
_benchmark(
    "testbed",
    "The pair beside its alternatives on real processes, links and edges: accuracy, bytes, latency, energy.",
    quick_option,
    bundle_option,
    option("--uncompressed", type=PATH, help="The bundle without bottleneck it is compared with."),
    data_options,
    option("--links", multiple=True, metavar="NAME", help="Links; all of the table if none. Give it again for more."),
    option("--edges", multiple=True, metavar="NAME", help="Edges: core, pi, weak; pi if none."),
    option("--alternatives", multiple=True, metavar="NAME", help="Alternatives; all of them if none."),
    option("--main-link", default="wifi", help="The link on which --n samples are measured."),
    option("--main-edge", default="pi", help="The edge on which they are."),
    option(
        "--board", type=click.Choice(tuple(boards())), default="pi-4b", help="At whose stated power time is charged."
    ),
    option("--n", type=COUNT, default=1000, help="Samples of the alternatives that matter on the main profile."),
    option("--n-others", type=COUNT, default=200, help="Samples of the others, and on other profiles."),
    option("--n-fit", type=COUNT, default=2000, help="Held-out pictures on which qualities of files are fitted."),
    option("--minutes", type=click.FloatRange(min=0.1), default=25.0, help="All runs may take so long together."),
    option(
        "--edge-host", metavar="COMMAND", help="What runs a command on the edge's machine: 'ssh pi cd neucodex &&'."
    ),
    option("--cloud-host", metavar="ADDRESS", help="This machine, as that one reaches it."),
    option("--edge-interface", default="", help="Of that machine: whose bytes are counted."),
    option("--edge-python", default=".venv/bin/python", help="On that machine."),
    module="testbed.measure",
    leaves_files=True,
)


@main_group.command("results")
@option("--models", type=PATH, default=Path("models"), help="The folder with the bundles.")
@option("--page", type=PATH, default=Path("docs/results.md"), help="The page with the table.")
def results(models: Path, page: Path) -> None:
    """Write the table of trained networks and its figures into the documentation."""
    from benchmarks.results import rewrite  # noqa: PLC0415

    rewrite(page, models, RECORDS)


@main_group.command("report")
@option("--record", type=PATH, multiple=True, help="Records, the first one first; else the newest of each data set.")
@option("--out", type=PATH, default=Path("docs"), help="Where the pages go.")
def report(record: tuple[Path, ...], out: Path) -> None:
    """Write the testbed's report, one HTML page and Markdown, from a record of each data set."""
    from benchmarks.testbed.report.page import Record, newest_of_each, write  # noqa: PLC0415

    for path in write([Record.read(each) for each in record or newest_of_each(RECORDS)], out):
        click.echo(path)


@main_group.command("advise")
@option("--link", required=True, metavar="NAME", help="Of the record's links.")
@option("--edge-gmacs", type=click.FloatRange(min=0, min_open=True), help="1e9 dense operations a second of your edge.")
@option("--budget-drop", type=click.FloatRange(min=0), default=1.0, help="Points of accuracy that may be lost.")
@option("--board", type=click.Choice(tuple(boards())), help="Of your edge: for its speed and its joules.")
@option("--bundle", type=PATH, multiple=True, help="To choose from; else those in models/ for its data.")
@option("--dataset", help="The newest record of that data set, such as caltech101 for photographs.")
@record_option
@option("--json", "as_json", is_flag=True, help="One JSON object.")
def advise(bundle: tuple[Path, ...], record: Path | None, dataset: str | None, as_json: bool, **wanted: Any) -> None:
    """Which bundle, threshold and lookahead to use on a link, and how far to believe it."""
    from benchmarks.testbed import advice, advice_table  # noqa: PLC0415
    from benchmarks.testbed.report.page import Record, newest  # noqa: PLC0415
    from shared.bundle import Bundle  # noqa: PLC0415

    testbed = Record.read(record or newest(RECORDS, dataset)).testbed
    bundles = [Bundle.open(folder) for folder in bundle] or advice.trained_on(testbed.dataset, Path("models"))
    found = advice.advise(testbed, bundles, **wanted)
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        advice_table.show(found)


def main() -> None:
    """Entry point of `neucodex-bench`."""
    run(main_group)


if __name__ == "__main__":
    main()
