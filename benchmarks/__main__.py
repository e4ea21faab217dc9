"""`neucodex-bench`: each benchmark writes one record, benchmarks/records/<date>-<what>/record.json, and its plots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.processes import end_as_ctrl_c
from benchmarks.record import Clock, Findings
from shared.command_line import option, run, version_option

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
@version_option
def main_group() -> None:
    """Measure NeuCODEX; every figure in the documentation comes from here."""
    end_as_ctrl_c()


def _options(command: F) -> F:
    command = option("--out", type=click.Path(path_type=Path), help="The record's folder.")(command)
    return option("--quick", is_flag=True, help="Less of everything: does it run, not how fast is it.")(command)


def _record(what: str, out: Path | None, measure: Callable[[Path], Findings]) -> Findings:
    folder = out or Path("benchmarks/records") / f"{date.today().isoformat()}-{what}"
    clock = Clock(what)
    findings = measure(folder)
    click.echo(f"record: {clock.write(findings, folder)}")
    for target in findings.targets:
        click.echo(f"{target.verdict:>12}  {target.name}: {target.reads} (goal {target.asks}) {target.note}")
    return findings


@main_group.command("event-simulation")
@_options
@option("--data", type=click.Path(path_type=Path), required=True, help="Holds events/samples and the data sets.")
def event_simulation(data: Path, out: Path | None, quick: bool) -> None:
    """Simulated events beside the two real recordings whose picture is known."""
    from benchmarks.event_simulation import measure  # noqa: PLC0415  each command imports what it alone needs

    _record("event-simulation", out, lambda folder: measure(folder, data, quick))


@main_group.command("train")
@_options
@option("--threads", type=click.IntRange(min=1), help="CPU threads; PyTorch's choice if not given.")
@option("--batch", type=click.IntRange(min=2), default=64, help="Samples in a training step.")
def train(out: Path | None, quick: bool, threads: int | None, batch: int) -> None:
    """Samples a second of a training step: ours and plain snnTorch, quantised and spiking."""
    from benchmarks.train import measure  # noqa: PLC0415

    _record("train", out, lambda _: measure(threads, batch, quick))


@main_group.command("codec")
@_options
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="Whose spikes.")
@option("--dataset", default="digits", help="What the bundle was trained on.")
@option("--data", type=click.Path(path_type=Path), help="Where the data set is, if it is not in the package.")
@option("--allow-partial", is_flag=True, help="Take the data set although recordings of it are missing.")
@option("--limit", type=click.IntRange(min=1), default=2000, help="Samples of each part.")
def codec(out: Path | None, bundle: Path, dataset: str, data: Path | None, **how: Any) -> None:
    """Bytes and times of the spike codec and of what else one could send."""
    from benchmarks.codec import measure  # noqa: PLC0415

    _record("codec", out, lambda _: measure(bundle, dataset, data, **how))


@main_group.command("results")
@option("--models", type=click.Path(path_type=Path), default=Path("models"), help="The folder with the bundles.")
@option("--page", type=click.Path(path_type=Path), default=Path("docs/results.md"), help="The page with the table.")
def results(models: Path, page: Path) -> None:
    """Write the table of trained networks and its figures into the documentation."""
    from benchmarks.results import rewrite  # noqa: PLC0415

    rewrite(page, models, Path("benchmarks/records"))


@main_group.command("scans")
@option("--out", type=click.Path(path_type=Path), help="The record's folder.")
def scans(out: Path | None) -> None:
    """Bytes of the held-out digits as they were scanned."""
    from benchmarks.scans import measure  # noqa: PLC0415

    _record("scans", out, lambda _: measure())


@main_group.command("messages")
@_options
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="What is served.")
def messages(out: Path | None, quick: bool, bundle: Path) -> None:
    """What a frame and its answer cost on the wire beyond the spikes."""
    from benchmarks.messages import measure  # noqa: PLC0415

    _record("messages", out, lambda _: measure(bundle, quick))


@main_group.command("serving")
@_options
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="What is served.")
@option("--full-width", is_flag=True, help="Serve an untrained full-width ResNet-18 of CIFAR-10's size instead.")
@option("--dataset", default="digits", help="What the bundle was trained on; its test part is sent.")
@option("--data", type=click.Path(path_type=Path), help="Where the data set is, if it is not in the package.")
@option("--streams", type=click.IntRange(min=1), multiple=True, help="Streams open at once; 1, 8, 64 and 256 if none.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads of a tail step; one core is left free by default.")
@option("--max-batch", type=click.IntRange(min=1), default=32, help="Samples stepped together at most.")
@option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What the tails run on.")
@option("--limit", type=click.IntRange(min=1), help="Pictures sent; all of the test part if not given.")
def serving(out: Path | None, bundle: Path, full_width: bool, **settings: Any) -> None:
    """Throughput, latency and limits of one cloud process under a fleet, beside the same tail in a bare loop."""
    from benchmarks.serving import measure  # noqa: PLC0415

    _record("serving", out, lambda _: measure(None if full_width else bundle, **settings))


@main_group.command("soak")
@option("--out", type=click.Path(path_type=Path), help="The record's folder.")
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="What is served.")
@option("--tiny", is_flag=True, help="Serve a tiny untrained network: the same frames in a fraction of the time.")
@option("--dataset", default="digits", help="Its test part is sent.")
@option("--data", type=click.Path(path_type=Path), help="Where the data set is, if it is not in the package.")
@option("--frames", type=click.IntRange(min=1), default=1_000_000, help="Stop after so many answered frames.")
@option("--streams", type=click.IntRange(min=1), default=64, help="Open at once.")
@option("--stretch", type=click.FloatRange(min=0.1), default=10.0, help="Seconds of load between two looks.")
@option("--threads", type=click.IntRange(min=1), help="CPU threads of a tail step; one core is left free by default.")
def soak(out: Path | None, bundle: Path, tiny: bool, **settings: Any) -> int:
    """Send frames for a long time and see whether the cloud grows. Exit code 1 if it does."""
    from benchmarks.soak import measure  # noqa: PLC0415

    findings = _record("soak", out, lambda _: measure(None if tiny else bundle, **settings))
    return int(any(target.met is False for target in findings.targets))


@main_group.command("edge")
@_options
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="What is run.")
@option("--dataset", default="digits", help="What the bundle was trained on; its test part is classified.")
@option("--data", type=click.Path(path_type=Path), help="Where the data set is, if it is not in the package.")
@option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="One measurement of: heads, start-up, overhead, lookahead, cuts, dead-link.",
)
def edge(out: Path | None, quick: bool, bundle: Path, dataset: str, data: Path | None, only: tuple[str, ...]) -> None:
    """The edge: its head by each runtime, start and memory; with a cloud: overhead, slow links, a link that is cut."""
    from benchmarks.edge.measure import MEASUREMENTS, measure  # noqa: PLC0415

    unknown = set(only) - set(MEASUREMENTS)
    if unknown:
        raise click.BadParameter(f"--only {', '.join(sorted(unknown))}: known are {', '.join(MEASUREMENTS)}")
    _record("edge", out, lambda _: measure(bundle, dataset, data, only, quick))


@main_group.command("testbed")
@_options
@option("--bundle", type=click.Path(path_type=Path), default=Path("models/resnet18-digits"), help="The pair's.")
@option("--uncompressed", type=click.Path(path_type=Path), help="The bundle without bottleneck it is compared with.")
@option("--dataset", default="digits", help="What both were trained on; its test part is classified.")
@option("--data", type=click.Path(path_type=Path), help="Where the data set is, if it is not in the package.")
@option("--links", multiple=True, metavar="NAME", help="Links; all of the table if none. Give it again for more.")
@option("--edges", multiple=True, metavar="NAME", help="Edges: core, pi, weak; pi if none.")
@option("--alternatives", multiple=True, metavar="NAME", help="Alternatives; all of them if none.")
@option("--main-link", default="wifi", help="The link on which --n samples are measured.")
@option("--main-edge", default="pi", help="The edge on which they are.")
@option("--n", type=click.IntRange(min=1), default=1000, help="Samples of each alternative on the main profile.")
@option("--n-others", type=click.IntRange(min=1), default=200, help="Samples on the others.")
@option("--minutes", type=click.FloatRange(min=0.1), default=25.0, help="The longest runs are cut to this in all.")
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
@option("--record", type=click.Path(path_type=Path), help="The testbed's record; else the newest committed one.")
@option("--out", type=click.Path(path_type=Path), default=Path("docs"), help="Where the pages go.")
def report(record: Path | None, out: Path) -> None:
    """Write the testbed's report, one HTML page and Markdown, from a record."""
    from benchmarks.testbed.report.page import Record, newest, write  # noqa: PLC0415

    for path in write(Record.read(record or newest(Path("benchmarks/records"))), out):
        click.echo(path)


@main_group.command("advise")
@option("--link", required=True, metavar="NAME", help="Of the record's links.")
@option("--edge-gmacs", type=click.FloatRange(min=0, min_open=True), help="1e9 dense operations a second of your edge.")
@option("--budget-drop", type=click.FloatRange(min=0), default=1.0, help="Points of accuracy that may be lost.")
@option(
    "--bundle",
    type=click.Path(path_type=Path),
    multiple=True,
    help="To choose from; else those in models/ for its data.",
)
@option("--record", type=click.Path(path_type=Path), help="The testbed's record; else the newest committed one.")
@option("--json", "as_json", is_flag=True, help="One JSON object.")
def advise(
    link: str,
    edge_gmacs: float | None,
    budget_drop: float,
    bundle: tuple[Path, ...],
    record: Path | None,
    as_json: bool,
) -> None:
    """Which bundle, threshold and lookahead to use on a link, and how far to believe it."""
    import json  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from benchmarks.testbed.advice import advise as choose  # noqa: PLC0415
    from benchmarks.testbed.advice import trained_on  # noqa: PLC0415
    from benchmarks.testbed.advice_table import choices_table, misses_table  # noqa: PLC0415
    from benchmarks.testbed.report.page import Record, newest  # noqa: PLC0415
    from shared.bundle import Bundle  # noqa: PLC0415

    testbed = Record.read(record or newest(Path("benchmarks/records"))).testbed
    bundles = [Bundle.open(folder) for folder in bundle] or trained_on(testbed.dataset, Path("models"))
    advice = choose(testbed, bundles, link, budget_drop, edge_gmacs)
    if as_json:
        click.echo(json.dumps(advice.to_dict()))
        return
    console = Console(highlight=False)
    console.print(choices_table(advice), misses_table(advice), sep="\n")
    console.print(f"fitted overhead: {advice.overhead_ms:.2f} ms")


def main() -> None:
    """Entry point of `neucodex-bench`."""
    run(main_group)


if __name__ == "__main__":
    main()
