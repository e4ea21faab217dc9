"""`neucodex-bench`: each benchmark writes one record, benchmarks/records/<date>-<what>/record.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
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


def _record(what: str, out: Path | None, measure: Callable[[Path], Findings]) -> Findings:
    folder = out or RECORDS / f"{date.today().isoformat()}-{what}"
    clock = Clock(what)
    findings = measure(folder)
    click.echo(f"record: {clock.write(findings, folder)}")
    for goal in findings.targets:
        click.echo(f"{goal.verdict:>12}  {goal.name}: {goal.reads} (goal {goal.asks}) {goal.note}")
    return findings


# Each command imports what it alone needs.


@main_group.command("event-simulation")
@out_option
@option("--data", type=PATH, required=True, help="Holds events/samples and the data sets.")
def event_simulation(data: Path, out: Path | None) -> None:
    """Simulated events beside the two real recordings whose picture is known."""
    from benchmarks.event_simulation import measure  # noqa: PLC0415

    _record("event-simulation", out, lambda folder: measure(folder, data))


@main_group.command("train")
@out_option
@quick_option
@option("--threads", type=COUNT, help="CPU threads; PyTorch's choice if not given.")
@option("--batch", type=click.IntRange(min=2), default=64, help="Samples in a training step.")
def train(out: Path | None, quick: bool, threads: int | None, batch: int) -> None:
    """Samples a second of a training step: ours and plain snnTorch, quantised and spiking."""
    from benchmarks.train import measure  # noqa: PLC0415

    _record("train", out, lambda _: measure(threads, batch, quick))


@main_group.command("codec")
@out_option
@quick_option
@bundle_option
@data_options
@option("--allow-partial", is_flag=True, help="Take the data set although recordings of it are missing.")
@option("--limit", type=COUNT, default=2000, help="Samples of each part.")
def codec(out: Path | None, **how: Any) -> None:
    """Bytes and times of the spike codec and of what else one could send."""
    from benchmarks.codec import measure  # noqa: PLC0415

    _record("codec", out, lambda _: measure(**how))


@main_group.command("results")
@option("--models", type=PATH, default=Path("models"), help="The folder with the bundles.")
@option("--page", type=PATH, default=Path("docs/results.md"), help="The page with the table.")
def results(models: Path, page: Path) -> None:
    """Write the table of trained networks and its figures into the documentation."""
    from benchmarks.results import rewrite  # noqa: PLC0415

    rewrite(page, models, RECORDS)


@main_group.command("scans")
@out_option
def scans(out: Path | None) -> None:
    """Bytes of the held-out digits as they were scanned."""
    from benchmarks.scans import measure  # noqa: PLC0415

    _record("scans", out, lambda _: measure())


@main_group.command("large-jpegs")
@out_option
@quick_option
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-cifar10"), help="What classifies.")
@option("--data", type=click.Path(path_type=Path), required=True, help="Holds 101_ObjectCategories.")
def large_jpegs(out: Path | None, quick: bool, bundle: Path, data: Path) -> None:
    """What it costs in accuracy that large JPEGs are decoded at a part of their size."""
    from benchmarks.large_jpegs import measure  # noqa: PLC0415

    _record("large-jpegs", out, lambda _: measure(bundle, data, quick))


@main_group.command("messages")
@out_option
@quick_option
@bundle_option
def messages(out: Path | None, quick: bool, bundle: Path) -> None:
    """What a frame and its answer cost on the wire beyond the spikes."""
    from benchmarks.messages import measure  # noqa: PLC0415

    _record("messages", out, lambda _: measure(bundle, quick))


@main_group.command("datagrams")
@out_option
@bundle_option
@data_options
@option("--limit", type=COUNT, default=200, help="Samples sent.")
def datagrams(out: Path | None, **how: Any) -> None:
    """Bytes on the link by gRPC, and by a prototype of QUIC datagrams. Needs root."""
    import tempfile  # noqa: PLC0415

    from benchmarks.datagrams import measure  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="neucodex-certificate-") as folder:
        _record("datagrams", out, lambda _: measure(folder=Path(folder), **how))


@main_group.command("serving")
@out_option
@quick_option
@bundle_option
@option("--full-width", is_flag=True, help="Serve an untrained full-width ResNet-18 of CIFAR-10's size instead.")
@data_options
@option("--streams", type=COUNT, multiple=True, help="Streams open at once; 1, 8, 64 and 256 if none.")
@threads_option
@option("--max-batch", type=COUNT, default=32, help="Samples stepped together at most.")
@option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What the tails run on.")
@option("--limit", type=COUNT, help="Pictures sent; all of the test part if not given.")
def serving(out: Path | None, bundle: Path, full_width: bool, **settings: Any) -> None:
    """Throughput, latency and limits of one cloud process under a fleet, beside the same tail in a bare loop."""
    from benchmarks.serving import measure  # noqa: PLC0415

    _record("serving", out, lambda _: measure(None if full_width else bundle, **settings))


@main_group.command("soak")
@out_option
@bundle_option
@option("--tiny", is_flag=True, help="Serve a tiny untrained network: the same frames in a fraction of the time.")
@data_options
@option("--frames", type=COUNT, default=1_000_000, help="Stop after so many answered frames.")
@option("--streams", type=COUNT, default=64, help="Open at once.")
@option("--stretch", type=click.FloatRange(min=0.1), default=10.0, help="Seconds of load between two looks.")
@threads_option
def soak(out: Path | None, bundle: Path, tiny: bool, **settings: Any) -> int:
    """Send frames for a long time and see whether the cloud grows. Exit code 1 if it does."""
    from benchmarks.soak import measure  # noqa: PLC0415

    findings = _record("soak", out, lambda _: measure(None if tiny else bundle, **settings))
    return int(any(goal.met is False for goal in findings.targets))


@main_group.command("edge")
@out_option
@quick_option
@bundle_option
@data_options
@option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="One measurement of: heads, start-up, overhead, lookahead, cuts, dead-link.",
)
def edge(out: Path | None, only: tuple[str, ...], **settings: Any) -> None:
    """The edge: its head by each runtime, start and memory; with a cloud: overhead, slow links, a link that is cut."""
    from benchmarks.edge.measure import MEASUREMENTS, measure  # noqa: PLC0415

    unknown = set(only) - set(MEASUREMENTS)
    if unknown:
        raise click.BadParameter(f"--only {', '.join(sorted(unknown))}: known are {', '.join(MEASUREMENTS)}")
    _record("edge", out, lambda _: measure(only=only, **settings))


@main_group.command("testbed")
@out_option
@quick_option
@bundle_option
@option("--uncompressed", type=PATH, help="The bundle without bottleneck it is compared with.")
@data_options
@option("--links", multiple=True, metavar="NAME", help="Links; all of the table if none. Give it again for more.")
@option("--edges", multiple=True, metavar="NAME", help="Edges: core, pi, weak; pi if none.")
@option("--alternatives", multiple=True, metavar="NAME", help="Alternatives; all of them if none.")
@option("--main-link", default="wifi", help="The link on which --n samples are measured.")
@option("--main-edge", default="pi", help="The edge on which they are.")
@option("--board", type=click.Choice(tuple(boards())), default="pi-4b", help="At whose stated power time is charged.")
@option("--n", type=COUNT, default=1000, help="Samples of the alternatives that matter on the main profile.")
@option("--n-others", type=COUNT, default=200, help="Samples of the others, and on other profiles.")
@option("--n-fit", type=COUNT, default=500, help="Held-out pictures on which qualities of files are fitted.")
@option("--minutes", type=click.FloatRange(min=0.1), default=25.0, help="All runs may take so long together.")
@option("--edge-host", metavar="COMMAND", help="What runs a command on the edge's machine: 'ssh pi cd neucodex &&'.")
@option("--cloud-host", metavar="ADDRESS", help="This machine, as that one reaches it.")
@option("--edge-interface", default="", help="Of that machine: whose bytes are counted.")
@option("--edge-python", default=".venv/bin/python", help="On that machine.")
def testbed(out: Path | None, quick: bool, **settings: Any) -> None:
    """The pair beside its alternatives on real processes, links and edges: accuracy, bytes, latency, energy."""
    from benchmarks.testbed.measure import measure  # noqa: PLC0415
    from benchmarks.testbed.options import options_of  # noqa: PLC0415

    options = options_of(quick, settings)
    _record("testbed", out, lambda folder: measure(folder, options))


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
        click.echo(json.dumps(found.to_dict()))
    else:
        advice_table.show(found)


def main() -> None:
    """Entry point of `neucodex-bench`."""
    run(main_group)


if __name__ == "__main__":
    main()
