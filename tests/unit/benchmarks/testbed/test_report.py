import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from benchmarks.testbed.goals import claims, targets
from benchmarks.testbed.report.page import Record, html, markdown, newest, write
from benchmarks.testbed.report.raster import raster
from benchmarks.testbed.report.tables import links_table
from benchmarks.testbed.schema import Alternative, Testbed
from shared.errors import ConfigError
from tests.unit.benchmarks.testbed.made import made_testbed
from tests.unit.benchmarks.testbed.made_report import made_report_testbed, write_record


@pytest.fixture(scope="module")
def testbed() -> Testbed:
    return made_report_testbed()


@pytest.fixture(scope="module")
def record(testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return Record.read(write_record(testbed, tmp_path_factory.mktemp("record")))


def test_claims_compare_ours_with_edge_only_on_the_main_profile(testbed: Testbed) -> None:
    transfer, energy, latency, drop = claims(testbed)
    assert (transfer.measured, transfer.met) == ("2,048x", True)
    full, alone = testbed.run("full"), testbed.run("edge-only")
    assert full is not None
    assert alone is not None
    ratio = alone.figures["latency_ms"].median / full.figures["latency_ms"].median
    assert (latency.measured, latency.met) == (f"{ratio:.2f}x lower", ratio >= 3)
    assert energy.met is (energy.measured.startswith(("9",)) and not energy.measured.startswith("90.0"))
    assert drop.met is (float(drop.measured.split()[0]) < 2)


def test_a_claim_without_a_run_is_not_measured() -> None:
    bare = made_testbed()
    assert [claim.met for claim in claims(replace(bare, networks={}))] == [None] * 4


def test_the_fastest_of_a_link_is_named(testbed: Testbed) -> None:
    head, rows = links_table(testbed)
    fastest = {row[0]: row[head.index("fastest")] for row in rows}
    for link in testbed.links:
        over = [run for run in testbed.runs if run.link == link.asked.name]
        best = min(over, key=lambda run: run.figures["latency_ms"].median or 0.0)
        title = next(a.title for a in testbed.alternatives if a.name == best.alternative)
        assert fastest[link.asked.name].startswith(title)


def test_the_page_fetches_nothing_and_escapes_what_it_shows(record: Record) -> None:
    page = html(record)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page).replace("http://www.w3.org", "")
    assert "&lt;b&gt;no time" in page
    assert "<script" not in page
    assert "#0000" not in page  # every stand-in colour was replaced


def test_names_of_elements_are_unique(record: Record) -> None:
    names: list[str] = []

    class Names(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names.extend(value for name, value in attrs if name == "id" and value)

    Names().feed(html(record))
    assert names
    twice = {name for name in names if names.count(name) > 1}
    assert not twice


def test_the_same_record_gives_the_same_page(record: Record) -> None:
    assert html(record) == html(record)


def test_markdown_has_every_alternative_and_every_goal(record: Record) -> None:
    text = markdown(record)
    assert all(f"| {a.title} |" in text for a in record.testbed.alternatives)
    assert all(f"| {target.name} |" in text for target in targets(record.testbed))
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| NeuCODEX")}
    assert len(widths) == 1


def test_markdown_keeps_a_bar_in_a_title_inside_its_cell(record: Record) -> None:
    first, *others = record.testbed.alternatives
    barred = replace(record.testbed, alternatives=(replace(first, title="edge | only"), *others))
    assert "| edge \\| only |" in markdown(replace(record, testbed=barred))


def test_a_goal_says_what_its_figures_hang_on(record: Record) -> None:
    notes = {target.name: target.note for target in targets(record.testbed)}
    assert "its file 1107 bytes" in notes["JPEG q90's payload bytes : the pair's"]
    assert "the head takes" in notes["median latency of cloud only, JPEG q90 : the pair's, wifi"]


def test_a_missed_goal_names_another_way_of_running_the_pair_that_does_better(record: Record) -> None:
    found = record.testbed
    full, jpeg = found.run("full"), found.run("jpeg-90")
    assert full is not None
    assert jpeg is not None
    payload, latency = full.figures["payload_bytes"], jpeg.figures["latency_ms"]
    assert payload.mean is not None
    assert latency.mean is not None
    better = {"payload_bytes": replace(payload, mean=payload.mean / 2), "latency_ms": replace(latency, mean=1.0)}
    first = replace(full, alternative="full-local-first", figures={**full.figures, **better})
    title = "NeuCODEX, local exit first"
    alternatives = (*found.alternatives, Alternative(first.alternative, title, "pair", "bottleneck", True, "auto"))
    columns = {**found.columns, first.key: found.columns[full.key]}
    both = replace(found, alternatives=alternatives, runs=(*found.runs, first), columns=columns)
    notes = {target.name: target.note for target in targets(both)}
    ratio = 2 * (jpeg.mean("payload_bytes") or 0.0) / payload.mean
    assert f"{title}: {ratio:.1f} at" in notes["JPEG q90's payload bytes : the pair's"]
    assert title not in notes["JPEG q90's bytes on the link : the pair's"], "it needs as many there"
    faster = f"with the local exit asked first the mean is 1.0 ms, a file's {latency.mean:.1f}"
    assert faster in notes["median latency of cloud only, JPEG q90 : the pair's, wifi"]


def test_where_no_file_is_as_accurate_the_pair_is_held_against_the_most_accurate(record: Record) -> None:
    found = record.testbed
    accuracies = {"png": 0.6, "webp-75": 0.6, "jpeg-90": 0.5, "jpeg-50": 0.4}
    lower = tuple(
        replace(run, accuracy=replace(run.accuracy, mean=accuracies.get(run.alternative, run.accuracy.mean)))
        for run in found.runs
    )
    webp, full = found.run("webp-75"), found.run("full")
    assert webp is not None
    assert full is not None
    held = next(target for target in targets(replace(found, runs=lower)) if "most accurate" in target.name)
    assert held.measured == pytest.approx((webp.mean("payload_bytes") or 0) / (full.mean("payload_bytes") or 1), 1e-3)
    assert held.note.startswith("that file: webp-75, 60.00 % accurate beside the pair's")
    assert held.note.endswith("none is as accurate")


def test_a_record_of_one_run_makes_a_report(tmp_path: Path) -> None:
    page, text = write(Record.read(write_record(made_testbed(), tmp_path / "record")), tmp_path / "out")
    assert "not measured" in page.read_text()
    assert "| not measured |" in text.read_text()


def test_a_raster_has_a_mark_for_each_spike() -> None:
    spikes = np.zeros((2, 3, 2, 2), np.uint8)
    spikes[0, 1, 0, 1] = spikes[1, 2, 1, 1] = 1
    drawn = raster(spikes, "two")
    assert re.findall(r"M(\d+) (\d+)", drawn) == [("1", "1"), ("3", "7")]
    assert drawn.count("<rect") == 2


def test_what_is_no_record_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of the testbed"):
        newest(tmp_path)
    with pytest.raises(ConfigError, match="no record can be read"):
        Record.read(tmp_path)
    (tmp_path / "record.json").write_text('{"benchmark": "codec"}')
    with pytest.raises(ConfigError, match="not a record of the testbed"):
        Record.read(tmp_path)
