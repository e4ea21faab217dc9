"""A record of the testbed as one HTML page and as Markdown, by the templates beside this file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.testbed.goals import PAPER, goals
from benchmarks.testbed.report import figures
from benchmarks.testbed.report.story import story
from benchmarks.testbed.report.tables import (
    Table,
    alternatives_table,
    conditions_table,
    fitted_table,
    goals_table,
    links_table,
    whole_test_table,
)
from benchmarks.testbed.samples_file import read_testbed
from benchmarks.testbed.schema import Testbed, Trace
from shared.errors import ConfigError

HTML, MARKDOWN = "testbed-report.html", "testbed-report.md"
LEGEND = {"loc": "outside lower center", "ncols": 2}


@dataclass(frozen=True)
class Record:
    """A record's folder, read."""

    testbed: Testbed
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read `record.json` and what lies beside it.

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


def newest(records: Path, dataset: str | None = None) -> Path:
    """The folder of the newest committed record of the testbed, of a data set if one is named.

    Raises:
        ConfigError: there is none.
    """
    found = _folders(records)
    if dataset is not None:
        found = [folder for folder in found if _dataset(folder) == dataset]
    if not found:
        of = "" if dataset is None else f" with {dataset}"
        raise ConfigError(f"{records} holds no record of the testbed{of}: make one with `neucodex-bench testbed`")
    return found[-1]


def newest_of_each(records: Path) -> list[Path]:
    """The newest record of each data set, the newest of all first.

    Raises:
        ConfigError: there is none.
    """
    newest(records)
    return sorted({_dataset(folder): folder for folder in _folders(records)}.values(), reverse=True)


def write(records: Sequence[Record], out: Path) -> tuple[Path, Path]:
    """Write the page and the Markdown into `out`, a part for each record; returns both paths."""
    out.mkdir(parents=True, exist_ok=True)
    page, text = out / HTML, out / MARKDOWN
    page.write_text(html(records))
    text.write_text(markdown(records))
    return page, text


def html(records: Sequence[Record]) -> str:
    """The page, with the figures in it: it fetches nothing."""
    first = records[0].testbed
    overview = figures.svg(lambda figure: figures.overview(figure, first), 1.5)
    drawn = [
        {
            "tiles": [goal for goal in goals(found) if goal.name.startswith(PAPER)],
            "figures": _figures(found),
            "samples": [(_caption(found, each), _trace(found, each)) for each in found.traces],
        }
        for found in (record.testbed for record in records)
    ]
    return _render("page.html", records, drawn, overview=overview)


def markdown(records: Sequence[Record]) -> str:
    """The tables, without figures."""
    return _render("page.md", records, [{} for _ in records])


def _folders(records: Path) -> list[Path]:
    return sorted(path.parent for path in records.glob("*-testbed*/record.json"))


def _dataset(folder: Path) -> str:
    """Of a record; "" for what is none."""
    try:
        return str(json.loads((folder / "record.json").read_text())["results"]["dataset"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _render(template: str, records: Sequence[Record], drawn: Sequence[Mapping[str, Any]], **context: Any) -> str:
    environment = Environment(
        loader=PackageLoader("benchmarks.testbed.report", ""),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    parts = [{**_tables(record), **more} for record, more in zip(records, drawn, strict=True)]
    first = story(records[0].testbed)
    return environment.get_template(template).render(page=HTML, story=first, parts=parts, **context)


def _tables(record: Record) -> dict[str, Any]:
    testbed, facts = record.testbed, record.facts
    tables: dict[str, tuple[str, Table]] = {
        "What the paper claims, and what this project asks": ("", goals_table(goals(testbed))),
        f"Every alternative on {testbed.main[1]} over {testbed.main[0]}": (
            "Accuracy and median latency with 95 % bootstrap intervals. Energy of the edge: a "
            f"{testbed.board or 'board'}'s stated power times the time that was measured, above the idle board and "
            "with it. Operations on an ideal chip stand by themselves.",
            alternatives_table(testbed),
        ),
        "Bytes at equal accuracy": (
            "Each codec at the lowest quality at which a plain float network is as accurate as the pair, fitted on "
            "pictures held out of training.",
            fitted_table(testbed),
        ),
        "All test pictures": ("", whole_test_table(testbed)),
        "The links": ("", links_table(testbed)),
        "On what": ("", conditions_table(testbed, facts)),
    }
    shown = {title: each for title, each in tables.items() if each[1].rows}
    return {"testbed": testbed, "facts": facts, "tables": shown}


def _figures(testbed: Testbed) -> list[tuple[str, str]]:
    """(caption, address) of each figure."""
    link = testbed.main[0]
    tall = min(3.0 + 0.16 * len(testbed.main_runs()), 4.6)
    every: tuple[tuple[str, Callable[[Axes], None], float], ...] = (
        (
            "Accuracy against payload: encoded spikes, features or the picture's file. Up and to the left is better; "
            "the qualities of a picture codec make a curve.",
            lambda axes: figures.accuracy_against_bytes(axes, testbed, "payload_bytes", "payload of a sample, bytes"),
            5.0,
        ),
        (
            "Accuracy against bytes on the link, both ways: messages, gRPC, HTTP/2 and TCP/IP.",
            lambda axes: figures.accuracy_against_bytes(axes, testbed, "link_bytes", "bytes on the link for a sample"),
            5.0,
        ),
        ("Median latency over every link.", lambda axes: figures.latency_over_links(axes, testbed), 4.9),
        (f"Where a sample's time goes, over {link}.", lambda axes: figures.stacked_latency(axes, testbed), tall),
        ("When samples stop.", lambda axes: figures.exit_histogram(axes, testbed), 3.7),
        (
            f"A {testbed.board or 'board'}'s joules above idle, with its radio over {link}; without float32 features.",
            lambda axes: figures.stacked_energy(axes, testbed),
            tall,
        ),
    )
    return [(caption, _drawn(paint, height)) for caption, paint, height in every]


def _drawn(paint: Callable[[Axes], None], height: float) -> str:
    def whole(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.grid(alpha=0.3)
        paint(axes)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(**LEGEND)

    return figures.svg(whole, height)


def _trace(testbed: Testbed, found: Trace) -> str:
    return figures.svg(lambda figure: figures.trace(figure, found, testbed.class_names, testbed.threshold), 2.4)


def _caption(testbed: Testbed, found: Trace) -> str:
    cells = found.spikes[0].size
    return (
        f"{testbed.class_names[found.label]} (test picture {found.sample}): {int(found.spikes.sum()):,} spikes in "
        f"{len(found.spikes)} x {cells:,} bits, and the cloud's confidence in the likeliest classes. The dotted "
        "line is the threshold at which a sample stops."
    )
