"""What the live view shows, as rich draws it."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest
from rich.console import Console

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Step, Verdict
from edge_client.inputs.base import Unreadable
from edge_client.output.live import KEPT, LiveReport, LiveView, shown
from edge_client.output.report import JsonReport
from tests.unit.edge_client.fakes import Clock, sample

CLASSES = ("cat", "dog")


def step(timestep: int, confidence: float, certain: bool) -> Step:
    return Step(timestep, 1, confidence, certain, 0.001, 0.0, 0.004, 0.0, 0.001, 1)


def verdict(*confidences: float, by: str = "cloud", latency_s: float = 0.005) -> Verdict:
    steps = tuple(step(t, confidence, confidence >= 0.9) for t, confidence in enumerate(confidences, 1))
    return Verdict(0, 1, confidences[-1], len(confidences), 12 * len(confidences), latency_s, by, steps)  # type: ignore[arg-type]


def labelled(number: int, label: int) -> Sample:
    return Sample(number, f"sample{number}", label, sample().pixels)


def drawn(view: LiveView, encoding: str = "utf-8", width: int = 140) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    # As the status line's, on which the view is drawn.
    console = Console(file=file, width=width, record=True, force_terminal=True, soft_wrap=True)
    console.print(view)
    return console.export_text().splitlines()


def test_confidence_by_timestep_bytes_and_latency() -> None:
    clock = Clock()
    view = LiveView(CLASSES, 3, "digits with here:1", total=9, clock=clock)
    assert drawn(view)[0].strip() == "digits with here:1  link: connecting for 0 s"
    view.link_changed(True)
    view.classified(labelled(0, 1), verdict(0.5, 0.95))
    view.classified(labelled(1, 0), verdict(0.25, 0.5, 0.75, by="edge", latency_s=0.0123))
    clock.now += 4
    head, names, first, second, figures = drawn(view)
    assert head.strip() == "digits with here:1  link: connected"
    assert names.split() == ["sample", "class", "t=1", "t=2", "t=3", "bytes", "ms"]
    assert first.split() == ["sample0", "dog", "▄", "50%", "█", "95%", "24", "5.0"]
    assert second.split() == ["sample1", "dog", "(edge)", "▂", "25%", "▄", "50%", "▆", "75%", "36", "12.3"]
    assert figures.strip() == (
        "2 of 9 samples, 0.5 per second; 1 answered by the edge; median of 2: 8.7 ms (p99 12.3); 30 bytes; "
        "mean exit t=2.50"
    )
    assert "#" in drawn(view, "ascii")[2]


def test_the_link_and_what_went_wrong() -> None:
    clock = Clock()
    view = LiveView(CLASSES, 2, "x", done=3, clock=clock)
    for connected in (True, False):
        view.link_changed(connected)
    clock.now += 7
    assert "link: no stream for 7 s" in drawn(view)[0]
    view.link_changed(True)
    clock.now += 2
    assert "link: connected for 2 s, 1 times opened again" in drawn(view)[0]
    view.failed()
    view.unreadable()
    assert drawn(view)[-1].strip() == "5 samples, 2.0 per second; 1 failed; 1 unreadable"
    clock.now += 60
    assert "0.0 per second" in drawn(view)[-1]


def test_a_link_that_closes_after_the_last_sample_is_not_lost() -> None:
    view = LiveView(CLASSES, 2, "x")
    view.link_changed(True)
    view.finished()
    view.link_changed(False)
    assert drawn(view)[0].strip() == "x  link: closed"


@pytest.mark.parametrize("timesteps", [4, 10])
def test_it_is_whole_at_80_columns(timesteps: int) -> None:
    classes = ("grasshopper", "airplane")
    view = LiveView(classes, timesteps, "resnet18-cifar10 with 127.0.0.1:50051", total=10_000)
    view.link_changed(True)
    confidences = [0.5] * (timesteps - 1) + [1.0]
    for number in range(12):
        name = Sample(number, f"cifar10/some-folder/with-a-long-name/test/{9000 + number}", 1, sample().pixels)
        view.classified(name, verdict(*confidences, by="edge" if number == 10 else "cloud", latency_s=1.2345))
    lines = drawn(view, width=80)
    head, names, *samples = lines[:10]
    assert head.split()[-2:] == ["link:", "connected"]
    assert names.split()[0] == "sample"
    assert names.split()[-2:] == ["bytes", "ms"]
    for number, line in enumerate(samples, 4):
        assert len(line) <= 80
        assert f"test/{9000 + number} " in line, "the end of a name tells samples apart"
        assert "airplane (edge)" in line or number != 10
        assert line.split()[-3:] == ["100%", str(12 * timesteps), "1234.5"]
        assert "▄" in line
    assert all(len(line) <= 80 for line in lines)
    assert "mean exit t=" in " ".join(lines[10:])


def test_it_does_not_grow() -> None:
    view = LiveView(CLASSES, 2, "x")
    for number in range(KEPT + 50):
        view.classified(labelled(number, 1), verdict(0.9))
    lines = drawn(view)
    assert len(lines) == 11
    assert f"{KEPT + 50} samples" in lines[-1]
    assert f"median of {KEPT}:" in lines[-1]
    assert "sample305" in lines[-2]


def test_the_other_report_is_told_of_everything_or_of_the_end() -> None:
    for lines, expected in ((True, 3), (False, 1)):
        out = io.StringIO()
        report = LiveReport(LiveView(CLASSES, 2, "x"), JsonReport(out, CLASSES), lines=lines)
        report.classified(sample(), verdict(0.9))
        report.failed(sample(1), "no")
        report.unreadable(Unreadable("x", "y"))
        report.summary({"samples": 1})
        assert len(out.getvalue().splitlines()) == expected


def test_log_lines_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    handler = logging.StreamHandler()
    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        console = Console(file=file, width=100, force_terminal=True)
        view = LiveView(CLASSES, 2, "the title")
        with shown(view, console):
            logger.warning("the link was lost")
        logger.warning("after it")
    finally:
        logger.removeHandler(handler)
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    assert said.index("the link was lost") < said.rindex("the title") < said.index("after it")
    assert handler.stream is file
