import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.goals import PAPER, equal_files, goals, smallest_equal_file
from benchmarks.testbed.report.page import Record, html, markdown, newest, write
from benchmarks.testbed.report.story import story
from benchmarks.testbed.report.tables import links_table
from benchmarks.testbed.schema import Testbed
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
    assert full.dynamic_j is not None
    assert alone.dynamic_j is not None
    assert energy.measured == pytest.approx(100 * (1 - full.dynamic_j / alone.dynamic_j), abs=0.1)
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
    page = html([record])
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page).replace("http://www.w3.org", "")
    assert "&lt;b&gt;no time" in page
    assert "<script" not in page
    pictures = [base64.b64decode(data) for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', page)]
    assert len(pictures) == 8
    assert all(picture.count(b"<path") + picture.count(b"<use") >= 5 for picture in pictures)


def test_the_same_record_gives_the_same_page(record: Record) -> None:
    assert html([record]) == html([record])


def test_markdown_has_every_alternative_and_every_goal(record: Record) -> None:
    text = markdown([record])
    assert all(f"| {a.title} |" in text for a in record.testbed.alternatives)
    assert all(f"| {goal.sentence} |" in text for goal in goals(record.testbed))
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| NeuCODEX")}
    assert len(widths) == 1


def test_markdown_keeps_a_bar_in_a_title_inside_its_cell(record: Record) -> None:
    first, *others = record.testbed.alternatives
    barred = replace(record.testbed, alternatives=(replace(first, title="edge | only"), *others))
    assert "| edge \\| only |" in markdown([replace(record, testbed=barred)])


def test_a_goal_reads_as_a_sentence_and_says_what_its_figures_hang_on(record: Record) -> None:
    found = {goal.name: goal for goal in goals(record.testbed)}
    payload = found["fewer payload bytes than JPEG q90"]
    assert payload.sentence == f"{payload.measured:.3g}x fewer payload bytes than JPEG q90; asked: 10x"
    assert "against 1107 bytes (jpeg-90" in payload.note
    assert "the head takes" in found["of the fastest file's median latency over wifi"].note
    lost = found["less accurate than the uncompressed network at full T"]
    assert "of all 10,000 test pictures the pair gets 91.00 %, the uncompressed network 92.00 %" in lost.note


def test_a_drop_is_not_held_against_the_few_pictures_of_a_slow_network(testbed: Testbed) -> None:
    alone = testbed.run("edge-only")
    assert alone is not None
    assert alone.accuracy.mean is not None
    few = replace(alone, n=18, accuracy=replace(alone.accuracy, mean=1.0))
    plain = replace(alone, alternative="plain-float32", n=200)
    way = next(each for each in testbed.alternatives if each.name == "edge-only")
    both = replace(
        testbed,
        runs=(*(few if run is alone else run for run in testbed.runs), plain),
        alternatives=(*testbed.alternatives, replace(way, name="plain-float32", kind="plain")),
        columns={**testbed.columns, plain.key: testbed.columns[alone.key]},
    )
    lost = next(goal for goal in goals(both) if goal.name.startswith("less accurate"))
    assert "(plain-float32)" in lost.note


def test_over_each_link_the_pair_is_held_against_the_fastest_file_that_is_as_accurate(record: Record) -> None:
    found = record.testbed
    goal = next(goal for goal in goals(found) if goal.name.endswith("over lora"))
    pair, medians = found.run("full", "lora"), [run.median("latency_ms") for run in equal_files(found, "lora")]
    assert pair is not None
    assert len(medians) == 2
    assert goal.measured == pytest.approx((pair.median("latency_ms") or 0) / min(filter(None, medians)), abs=1e-3)
    assert (goal.goal, goal.better) == (1.0, "lower")
    assert next(goal for goal in goals(found) if goal.name.endswith("over wifi")).goal == 1.15


def test_photographs_have_goals_of_their_own(record: Record) -> None:
    names = {goal.name: goal.goal for goal in goals(replace(record.testbed, dataset="caltech101"))}
    assert names["fewer payload bytes than the smallest file as accurate"] == 15
    assert names["fewer bytes on the link than the smallest file as accurate"] == 6
    assert not any("JPEG" in name for name in names)


def test_a_codec_that_does_not_reach_the_pair_is_no_equal_file(record: Record) -> None:
    found = record.testbed
    smallest = smallest_equal_file(found)
    assert smallest is not None
    assert smallest.alternative in ("webp-equal", "http-webp")
    assert "no quality reaches it" in markdown([record])


def test_a_missed_goal_names_another_way_of_running_the_pair_that_does_better(record: Record) -> None:
    found = record.testbed
    full, jpeg = found.run("full"), found.run("jpeg-90")
    assert full is not None
    assert jpeg is not None
    payload = full.figures["payload_bytes"]
    assert payload.mean is not None
    figures = {**full.figures, "payload_bytes": replace(payload, mean=payload.mean / 2)}
    first = replace(full, alternative="full-local-first", figures=figures)
    title = "NeuCODEX, local exit first"
    alternatives = (*found.alternatives, Alternative(first.alternative, title, "pair", "bottleneck", True, "auto"))
    columns = {**found.columns, first.key: found.columns[full.key]}
    both = replace(found, alternatives=alternatives, runs=(*found.runs, first), columns=columns)
    notes = {goal.name: goal.note for goal in goals(both)}
    ratio = 2 * (jpeg.mean("payload_bytes") or 0.0) / payload.mean
    assert f"{title}: {ratio:.1f}x at" in notes["fewer payload bytes than JPEG q90"]
    assert title not in notes["fewer bytes on the link than JPEG q90"], "it needs as many there"


def test_the_first_words_say_when_to_use_it_and_when_not_from_what_was_measured(record: Record) -> None:
    told = story(record.testbed)
    assert any(text.startswith("Bytes: a sample is") for text in told.use)
    assert any("lora" in text for text in told.use), "the made link of 50 kbit/s is won"
    assert any(text.startswith("If you need the picture itself") for text in told.leave)
    slower = replace(record.testbed, runs=tuple(run for run in record.testbed.runs if run.alternative != "full"))
    assert len(story(slower).use) == 0


def test_one_page_holds_a_part_for_each_data_set(record: Record) -> None:
    other = replace(record, testbed=replace(record.testbed, dataset="caltech101"))
    text = markdown([other, record])
    assert text.index("The testbed: caltech101") < text.index("The testbed: digits")


def test_a_record_of_one_run_makes_a_report(tmp_path: Path) -> None:
    page, text = write([Record.read(write_record(made_testbed(), tmp_path / "record"))], tmp_path / "out")
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
