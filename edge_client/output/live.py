"""A run as it goes, on a terminal: the last samples' confidence at each timestep, bytes, latency, pace, the link."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Step, Verdict
from edge_client.inputs.base import Still, Unreadable
from edge_client.output.report import Report
from edge_client.output.summary import Summary
from shared.plain_text import plain

SHOWN = 8
"""Samples."""

KEPT = 256
"""Samples that medians are taken over."""

PACE_S = 10.0
"""Samples per second are counted over this time."""

PER_SECOND = 8
"""How often the terminal is drawn. Drawing takes time from the head: the view is for looking, not for measuring."""

NAME_WIDTH, LEAST_NAME, CLASS_WIDTH = 32, 12, 16
"""Characters of a sample's name, at most and at least, and of its class."""

GAP = 2
"""Between two columns."""

STEP_WIDTH = GAP + len("# 100%")
NUMBERS_WIDTH = GAP + len("bytes") + GAP + len("99999.9")

BY_EDGE = " (edge)"
"""After the class, where the local exit answered."""

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*%#"


class LiveView:
    """The view itself; rich draws it from its own thread.

    Args:
        class_names, timesteps: of the bundle.
        title: the bundle and the cloud, for people.
        done: samples that an earlier run has dealt with, of `total`, which is None while it is not known.
        clock: seconds.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        timesteps: int,
        title: str,
        *,
        done: int = 0,
        total: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._class_names = class_names
        self._timesteps = timesteps
        self._title = plain(title)
        self._done = done
        self._total = total
        self._clock = clock
        self._lock = threading.Lock()
        self._last: deque[tuple[Sample, Verdict]] = deque(maxlen=KEPT)
        self._told_at: deque[float] = deque()
        self._here = self._failed = self._unreadable = self._still = self._streams = 0
        self._link_since = clock()
        self._connected = self._finished = False

    def link_changed(self, connected: bool) -> None:
        """A stream was opened, or lost."""
        with self._lock:
            self._connected = connected
            self._streams += connected
            self._link_since = self._clock()

    def finished(self) -> None:
        """Every sample is dealt with: what happens to the link from now on is no news."""
        with self._lock:
            self._finished = True

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        """A verdict is there."""
        with self._lock:
            self._last.append((sample, verdict))
            self._here += verdict.answered_by == "edge"
            self._count()

    def failed(self) -> None:
        """A sample got no verdict."""
        with self._lock:
            self._failed += 1
            self._count()

    def unreadable(self) -> None:
        """An input was skipped."""
        with self._lock:
            self._unreadable += 1
            self._count()

    def still(self) -> None:
        """Nothing happens in a sample."""
        with self._lock:
            self._still += 1
            self._count()

    def __rich_console__(self, console: Console, _: object) -> Iterator[RenderableType]:
        bars = BARS if console.encoding.startswith("utf") else ASCII_BARS
        with self._lock:
            yield Group(self._head(), self._samples(bars, console.width), self._figures())

    def _count(self) -> None:
        self._done += 1
        self._told_at.append(self._clock())

    def _head(self) -> Text:
        lost = "no stream" if self._streams else "connecting"
        state, style = ("connected", "green") if self._connected else (lost, "red")
        if self._finished:
            state, style = "closed", "dim"
        # A console that does not wrap log lines would cut these at its edge.
        line = Text.assemble(
            (self._title, "bold"), "  link: ", (state, style),
            no_wrap=False, overflow="fold",
        )  # fmt: skip
        if not self._finished and (not self._connected or self._streams > 1):
            line.append(f" for {self._clock() - self._link_since:.0f} s")
        if self._streams > 1:
            line.append(f", {self._streams - 1} times opened again")
        return line

    def _samples(self, bars: str, width: int) -> Table:
        """The last samples, in columns that fit into the width: numbers whole, names as far as there is room."""
        longest = max(map(len, self._class_names)) + len(BY_EDGE) * (self._here > 0)
        class_width = max(len("class"), min(CLASS_WIDTH, longest))
        room = width - class_width - GAP - NUMBERS_WIDTH
        by_timestep = room - self._timesteps * STEP_WIDTH >= LEAST_NAME
        room -= self._timesteps * STEP_WIDTH if by_timestep else self._timesteps + STEP_WIDTH
        name_width = max(LEAST_NAME, min(NAME_WIDTH, room - GAP))
        table = Table(box=None, pad_edge=False, expand=False)
        table.add_column("sample", no_wrap=True, max_width=name_width)
        table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=class_width)
        for title in [f"t={t}" for t in range(1, self._timesteps + 1)] if by_timestep else [f"t=1..{self._timesteps}"]:
            table.add_column(title, justify="right" if by_timestep else "left", no_wrap=True)
        table.add_column("bytes", justify="right", no_wrap=True)
        table.add_column("ms", justify="right", no_wrap=True)
        for sample, verdict in list(self._last)[-SHOWN:]:
            steps = {step.timestep: step for step in verdict.steps}
            confidences = [_confidence(steps.get(timestep), bars) for timestep in range(1, self._timesteps + 1)]
            table.add_row(
                Text(plain(sample.name[-name_width:])),
                self._class(sample, verdict),
                *(confidences if by_timestep else [_confidences_in_short(verdict.steps, bars)]),
                str(verdict.payload_bytes),
                f"{verdict.latency_s * 1e3:.1f}",
            )
        return table

    def _class(self, sample: Sample, verdict: Verdict) -> Text:
        colour = "" if sample.label is None else "green" if verdict.prediction == sample.label else "red"
        name = plain(self._class_names[verdict.prediction])
        return Text(f"{name}{BY_EDGE}" if verdict.answered_by == "edge" else name, colour)

    def _figures(self) -> Text:
        now = self._clock()
        while self._told_at and now - self._told_at[0] > PACE_S:
            self._told_at.popleft()
        pace = len(self._told_at) / max(min(PACE_S, now - self._told_at[0]), 1.0) if self._told_at else 0.0
        parts = [f"{self._done}{'' if self._total is None else f' of {self._total}'} samples, {pace:.1f} per second"]
        counted = (
            ("answered by the edge", self._here),
            ("still", self._still),
            ("failed", self._failed),
            ("unreadable", self._unreadable),
        )
        parts += [f"{count} {what}" for what, count in counted if count]
        if self._last:
            verdicts = [verdict for _, verdict in self._last]
            latencies = sorted(verdict.latency_s * 1e3 for verdict in verdicts)
            p99 = latencies[len(latencies) * 99 // 100]
            parts += [
                f"median of {len(verdicts)}: {median(latencies):.1f} ms (p99 {p99:.1f})",
                f"{median(verdict.payload_bytes for verdict in verdicts):.0f} bytes",
                f"mean exit t={sum(verdict.timesteps for verdict in verdicts) / len(verdicts):.2f}",
            ]
        return Text("; ".join(parts), no_wrap=False, overflow="fold")


class LiveReport:
    """A `Report` to the view, and on to another one, which without `lines` gets only the summary."""

    def __init__(self, view: LiveView, then: Report, *, lines: bool) -> None:
        self._view = view
        self._then = then
        self._lines = lines

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        self._view.classified(sample, verdict)
        if self._lines:
            self._then.classified(sample, verdict)

    def failed(self, sample: Sample, reason: str) -> None:
        self._view.failed()
        if self._lines:
            self._then.failed(sample, reason)

    def unreadable(self, what: Unreadable) -> None:
        self._view.unreadable()
        if self._lines:
            self._then.unreadable(what)

    def still(self, what: Still) -> None:
        self._view.still()
        if self._lines:
            self._then.still(what)

    def summary(self, figures: Summary) -> None:
        self._then.summary(figures)


@contextlib.contextmanager
def shown(view: LiveView, console: Console) -> Iterator[None]:
    """Draw the view at the end of the console, with log lines above it; it stays as it was in the end."""
    live = Live(view, console=console, refresh_per_second=PER_SECOND, redirect_stdout=False, redirect_stderr=False)
    logs = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
    ]
    with live:
        for handler in logs:
            handler.setStream(FileProxy(console, sys.stderr))
        try:
            yield
        finally:
            for handler in logs:
                handler.setStream(sys.stderr)


def _confidence(step: Step | None, bars: str) -> Text:
    if step is None:
        return Text("")
    return Text(f"{_bar(step, bars)} {step.confidence:4.0%}", "bold" if step.certain else "dim")


def _confidences_in_short(steps: Sequence[Step], bars: str) -> Text:
    """A bar for each timestep, and the last confidence."""
    bar = "".join(_bar(step, bars) for step in steps)
    return Text(f"{bar} {steps[-1].confidence:4.0%}" if steps else "")


def _bar(step: Step, bars: str) -> str:
    return bars[round(step.confidence * (len(bars) - 1))]
