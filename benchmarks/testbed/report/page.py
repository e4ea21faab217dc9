"""A record of the testbed as one HTML page and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from benchmarks.testbed.goals import Claim, claims, target_rows, verdict
from benchmarks.testbed.report import figures
from benchmarks.testbed.report.raster import picture, raster
from benchmarks.testbed.report.tables import ALTERNATIVE_COLUMNS, alternatives_table, links_table
from benchmarks.testbed.report.theme import draw
from benchmarks.testbed.samples_file import read_testbed
from benchmarks.testbed.schema import Testbed, Trace
from shared.errors import ConfigError

HTML, MARKDOWN = "testbed-report.html", "testbed-report.md"


@dataclass(frozen=True)
class Record:
    """A record's folder, read."""

    testbed: Testbed
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Record:
        """From `record.json` and what lies beside it.

        Raises:
            ConfigError: there is none, or it is no testbed's.
        """
        path = folder / "record.json"
        try:
            facts = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: no record can be read ({error}); `neucodex-bench testbed` writes one") from None
        if not isinstance(facts, dict) or facts.get("benchmark") != "testbed":
            raise ConfigError(f"{path}: is not a record of the testbed")
        return cls(read_testbed(facts["results"], folder), facts)


def newest(records: Path) -> Path:
    """The folder of the newest committed record of the testbed.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(path.parent for path in records.glob("*-testbed*/record.json"))
    if not found:
        raise ConfigError(f"{records} holds no record of the testbed: make one with `neucodex-bench testbed`")
    return found[-1]


def write(record: Record, out: Path) -> tuple[Path, Path]:
    """Write the page and the Markdown into `out`.

    Returns:
        Both paths.
    """
    out.mkdir(parents=True, exist_ok=True)
    page, text = out / HTML, out / MARKDOWN
    page.write_text(html(record))
    text.write_text(markdown(record))
    return page, text


def html(record: Record) -> str:
    """One file that fetches nothing: styles, figures and pictures are inside."""
    testbed = record.testbed
    environment = Environment(
        loader=PackageLoader("benchmarks.testbed.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        testbed=testbed,
        n=_main_n(testbed),
        quick="--quick" in record.facts["command"],
        claims=claims(testbed),
        targets=target_rows(testbed),
        verdict=verdict,
        css=lambda met: verdict(met).split()[0],
        sections=_sections(testbed),
        samples=[_sample(testbed, number, trace) for number, trace in enumerate(testbed.traces)],
        columns=ALTERNATIVE_COLUMNS,
        rows=alternatives_table(testbed),
        links=links_table(testbed),
        machine=_machine(record),
    )


def markdown(record: Record) -> str:
    """The tables, without figures."""
    testbed = record.testbed
    links = links_table(testbed)
    parts = [
        f"# The testbed: {testbed.dataset}",
        f"Written by `make report` from a record of {record.facts['started']} (commit {record.facts['commit']}): "
        f"`{record.facts['command']}`. The page with the figures: [{HTML}]({HTML}).",
        "## The paper's claims",
        _claims_table(("claim", "paper", "measured", "", "how"), claims(testbed)),
        "## What was to be reached",
        _claims_table(("goal", "asked", "measured", "", "how"), target_rows(testbed)),
        f"## Every alternative on {testbed.main[1]} over {testbed.main[0]}",
        f"Accuracy and median latency with 95 % bootstrap intervals. Energy of the edge: {testbed.energy}.",
        _table(ALTERNATIVE_COLUMNS, [cells for _, cells in alternatives_table(testbed)]),
        "## The links",
        _table(links[0], links[1]),
        *(["## What there was no time for", "\n".join(f"- {what}" for what in testbed.passed_over)]
          if testbed.passed_over else []),
        "## On what",
        _table(("", ""), [[name, value] for name, value in _machine(record)]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _sections(testbed: Testbed) -> list[dict[str, Any]]:
    def figure(name: str, caption: str, paint: figures.Paint, height: float = 3.7) -> dict[str, Any]:
        return {"svg": Markup(draw(name, caption, paint, height)), "caption": caption}  # noqa: S704  made here

    bars = len(testbed.main_runs())
    tall = min(3.0 + 0.16 * bars, 4.6)
    return [
        {
            "title": "Accuracy against bytes",
            "text": "Up and to the left is better. A picture's qualities make a curve; the others are points.",
            "figures": [
                figure("payload", "Payload: encoded spikes, features or the picture's file.",
                       figures.accuracy_against_bytes(testbed, "payload_bytes", "payload of a sample, bytes"), 5.0),
                figure("link", "On the link, both ways: messages, gRPC, HTTP/2 and TCP/IP.",
                       figures.accuracy_against_bytes(testbed, "link_bytes", "bytes on the link for a sample"), 5.0),
            ],
        },
        {
            "title": "Latency",
            "text": "Who is fastest depends on the link: what is computed on the edge costs its time everywhere, what "
            "is sent costs most where the link is slow.",
            "figures": [
                figure("rtt", "Median latency over every link.", figures.latency_over_links(testbed), 4.9),
                figure("parts", f"Where a sample's time goes, over {testbed.main[0]}.",
                       figures.stacked_latency(testbed), tall),
            ],
        },
        {
            "title": "Early exit and energy",
            "text": "Easy samples stop at the first timestep, which spares head, link and cloud alike.",
            "figures": [
                figure("exits", "When samples stop.", figures.exit_histogram(testbed)),
                figure("energy", f"The edge's joules, with the radio of {testbed.main[0]}; without float32 features.",
                       figures.stacked_energy(testbed), tall),
            ],
        },
    ]  # fmt: skip


def _sample(testbed: Testbed, number: int, trace: Trace) -> dict[str, Any]:
    label = testbed.class_names[trace.label]
    paint = figures.confidence(trace.confidences, testbed.class_names, testbed.threshold)
    timesteps, cells = trace.spikes.shape[0], trace.spikes[0].size
    return {
        "picture": Markup(picture(trace.picture, f"test picture {trace.sample}")),  # noqa: S704  made here, escaped
        "label": f"{label} (test picture {trace.sample})",
        "raster": Markup(raster(trace.spikes, f"spikes of picture {trace.sample}")),  # noqa: S704
        "spikes": f"{int(trace.spikes.sum()):,} spikes in {timesteps} x {cells:,} bits",
        "confidence": Markup(draw(f"trace{number}", "confidence by timestep", paint, 2.6)),  # noqa: S704
    }


def _machine(record: Record) -> list[list[str]]:
    testbed, facts = record.testbed, record.facts
    rows = [["command", facts["command"]], ["commit", str(facts["commit"])], ["started", facts["started"]],
            ["took", f"{facts['seconds']:,.0f} s"]]  # fmt: skip
    rows += [[name.replace("_", " "), str(value)] for name, value in facts["machine"].items()]
    rows += [
        [f"edge {edge.asked.name}", f"{100 * edge.asked.share:g} % of a core ({edge.means}): {edge.gmacs:.2f} GMAC/s, "
         f"head {edge.head_ms:.2f} ms, whole network {edge.whole_ms:.2f} ms a timestep, {edge.runtime}"]
        for edge in testbed.edges
    ]  # fmt: skip
    cloud = testbed.cloud
    rows.append(["cloud", f"{cloud.gmacs:.1f} GMAC/s, tail {cloud.tail_ms:.2f} ms, whole network "
                          f"{cloud.whole_ms:.2f} ms, {cloud.threads} threads, {cloud.precision}"])  # fmt: skip
    rows += [
        [f"network, {kind}", f"{network.bundle} ({network.fingerprint[:12]}), cut after {network.split}"]
        for kind, network in testbed.networks.items()
    ]
    return rows


def _main_n(testbed: Testbed) -> str:
    counts = [run.n for _, run in testbed.main_runs()]
    return (
        "no" if not counts else f"{min(counts):,} to {max(counts):,}" if min(counts) < max(counts) else f"{counts[0]:,}"
    )


def _claims_table(head: tuple[str, ...], rows: list[Claim]) -> str:
    return _table(head, [[row.claim, row.goal, row.measured, verdict(row.met), row.reason] for row in rows])


def _table(head: tuple[str, ...] | list[str], rows: list[list[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
