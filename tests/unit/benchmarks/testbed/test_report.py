import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.testbed.goals import PAPER, goals
from benchmarks.testbed.report.page import Record, html, markdown, newest, write
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


def test_the_papers_goals_compare_ours_with_edge_only_on_the_main_profile(testbed: Testbed) -> None:
    bits, energy, latency, lost = (goal for goal in goals(testbed) if goal.name.startswith(PAPER))
    assert (bits.measured, bits.met) == (2048.0, True)
    full, alone = testbed.run("full"), testbed.run("edge-only")
    assert full is not None
    assert alone is not None
    ratio = alone.figures["latency_ms"].median / full.figures["latency_ms"].median
    assert (latency.measured, latency.met) == (pytest.approx(ratio, abs=1e-3), ratio >= 3)
    assert energy.measured == pytest.approx(100 * (1 - full.joules / alone.joules), abs=0.1)
    drop = testbed.drop(alone, full)
    assert drop is not None
    assert lost.measured == pytest.approx(drop.points, abs=0.01)


def test_a_goal_without_a_run_is_not_measured() -> None:
    bare = made_testbed()
    assert {goal.met for goal in goals(replace(bare, networks={}))} == {None}


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
    pictures = [base64.b64decode(data) for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)]
    assert len(pictures) == 7
    assert all(picture.count(b"<path") + picture.count(b"<use") >= 5 for picture in pictures)


def test_the_same_record_gives_the_same_page(record: Record) -> None:
    assert html(record) == html(record)


def test_markdown_has_every_alternative_and_every_goal(record: Record) -> None:
    text = markdown(record)
    assert all(f"| {a.title} |" in text for a in record.testbed.alternatives)
    assert all(f"| {goal.name} |" in text for goal in goals(record.testbed))
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| NeuCODEX")}
    assert len(widths) == 1


def test_markdown_keeps_a_bar_in_a_title_inside_its_cell(record: Record) -> None:
    first, *others = record.testbed.alternatives
    barred = replace(record.testbed, alternatives=(replace(first, title="edge | only"), *others))
    assert "| edge \\| only |" in markdown(replace(record, testbed=barred))


def test_a_goal_says_what_its_figures_hang_on(record: Record) -> None:
    notes = {goal.name: goal.note for goal in goals(record.testbed)}
    assert "its file 1107 bytes" in notes["JPEG q90's payload bytes over the pair's"]
    assert "the head takes" in notes["median latency of JPEG q90 over the pair's, wifi"]


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
    notes = {goal.name: goal.note for goal in goals(both)}
    ratio = 2 * (jpeg.mean("payload_bytes") or 0.0) / payload.mean
    assert f"{title}: {ratio:.1f} at" in notes["JPEG q90's payload bytes over the pair's"]
    assert title not in notes["JPEG q90's bytes on the link over the pair's"], "it needs as many there"
    faster = f"with the local exit asked first the mean is 1.0 ms, a file's {latency.mean:.1f}"
    assert faster in notes["median latency of JPEG q90 over the pair's, wifi"]


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
    held = next(goal for goal in goals(replace(found, runs=lower)) if "most accurate" in goal.name)
    assert held.measured == pytest.approx((webp.mean("payload_bytes") or 0) / (full.mean("payload_bytes") or 1), 1e-3)
    assert held.note.startswith("that file: webp-75, 60.00 % accurate beside the pair's")
    assert held.note.endswith("none is as accurate")


def test_a_record_of_one_run_makes_a_report(tmp_path: Path) -> None:
    page, text = write(Record.read(write_record(made_testbed(), tmp_path / "record")), tmp_path / "out")
    assert "not measured" in page.read_text()
    assert "| not measured |" in text.read_text()


def test_what_is_no_record_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of the testbed"):
        newest(tmp_path)
    with pytest.raises(ConfigError, match="no record can be read"):
        Record.read(tmp_path)
    (tmp_path / "record.json").write_text('{"benchmark": "codec"}')
    with pytest.raises(ConfigError, match="not a record of the testbed"):
        Record.read(tmp_path)
