"""What people and programs see of a run: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.base import Still, Unreadable
from edge_client.output.lines import Line, failed_line, still_line, summary_line, verdict_line
from edge_client.output.summary import Summary
from shared.errors import OutputError
from shared.plain_text import plain

PICTURE_FILES = {"png": "PNG", "jpeg": "JPEG (q90)", "webp": "WebP (q75)"}
"""How the files that pictures are compared with are called."""

USUAL = ("packets", "events", "windows")
"""Counts of a stream that say nothing of trouble."""

SHOWN_NAME = 60
"""Characters of a class name in a line for people."""

SAID = 2000
"""Characters of a line on standard error."""


class Report(Protocol):
    """Gets what happens to the samples of a run, in order."""

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        """A verdict is there."""

    def failed(self, sample: Sample, reason: str) -> None:
        """There will be no verdict for this sample."""

    def unreadable(self, what: Unreadable) -> None:
        """An input was skipped."""

    def still(self, what: Still) -> None:
        """A sample in which nothing happens: there is no verdict, and nothing was sent."""

    def summary(self, figures: Summary) -> None:
        """The run has ended."""


class JsonReport:
    """One JSON object a line: each sample, then `{"summary": ...}`. Lines are flushed as they are written."""

    def __init__(self, out: TextIO, class_names: Sequence[str], wall_clock: Callable[[], float] = time.time) -> None:
        self._out = out
        self._class_names = class_names
        self._wall_clock = wall_clock

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        self._line(verdict_line(sample, verdict, self._class_names))

    def failed(self, sample: Sample, reason: str) -> None:
        self._line(failed_line(sample, reason, self._class_names, self._wall_clock()))

    def unreadable(self, what: Unreadable) -> None:
        """Not on standard output: there is no sample."""

    def still(self, what: Still) -> None:
        self._line(still_line(what, self._class_names, self._wall_clock()))

    def summary(self, figures: Summary) -> None:
        self._line(summary_line(figures))

    def _line(self, value: Line) -> None:
        write(self._out, json.dumps(value) + "\n")


class Reports:
    """A `Report` to several."""

    def __init__(self, *reports: Report) -> None:
        self._reports = reports

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        for report in self._reports:
            report.classified(sample, verdict)

    def failed(self, sample: Sample, reason: str) -> None:
        for report in self._reports:
            report.failed(sample, reason)

    def unreadable(self, what: Unreadable) -> None:
        for report in self._reports:
            report.unreadable(what)

    def still(self, what: Still) -> None:
        for report in self._reports:
            report.still(what)

    def summary(self, figures: Summary) -> None:
        for report in self._reports:
            report.summary(figures)


class TextReport:
    """A readable line for each of the first `show` samples, and a table at the end."""

    def __init__(self, out: TextIO, class_names: Sequence[str], timesteps: int, show: int) -> None:
        self._out = out
        self._class_names = [plain(name, SHOWN_NAME) for name in class_names]
        self._timesteps = timesteps
        self._left = show
        self._width = max(map(len, self._class_names))

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        width = self._width
        label = "?" if sample.label is None else self._class_names[sample.label]
        mark = "-" if sample.label is None else "right" if verdict.prediction == sample.label else "wrong"
        self._line(
            f"{mark:5}  {plain(sample.name)}  label {label:<{width}}  "
            f"prediction {self._class_names[verdict.prediction]:<{width}}  "
            f"confidence {verdict.confidence:6.1%}  exit t={verdict.timesteps}/{self._timesteps}  "
            f"{verdict.payload_bytes} bytes  {verdict.latency_s * 1000:.1f} ms"
        )

    def failed(self, sample: Sample, reason: str) -> None:
        """On standard error alone, see `StatusLine`."""

    def unreadable(self, what: Unreadable) -> None:
        """On standard error alone, see `StatusLine`."""

    def still(self, what: Still) -> None:
        if self._left > 0:
            self._left -= 1
            self._line(f"still  {plain(what.sample.name)}  {what.changed:.2%} of its pixels changed")

    def summary(self, figures: Summary) -> None:
        print_table(summary_table(figures), self._out)

    def _line(self, text: str) -> None:
        write(self._out, text + "\n")


class StatusLine:
    """Standard error: what went wrong with a sample, and progress as a bar where it is a terminal.

    Args:
        err: standard error.
        total: samples to come, None while that is not known.
        done: samples of `total` that an earlier run has dealt with.
        bar_after: on a terminal the bar appears below the lines after this many samples; None: never.
    """

    def __init__(
        self,
        err: TextIO,
        total: int | None,
        bar_after: int | None,
        *,
        done: int = 0,
    ) -> None:
        self.console = Console(file=err, highlight=False, markup=False, soft_wrap=True)
        self._total = total
        self._bar_after = bar_after
        self._done = done
        self._bar: tuple[Progress, TaskID] | None = None

    def advance(self) -> None:
        """One more sample is dealt with."""
        self._done += 1
        if self.console.is_terminal and self._bar_after is not None and self._done >= self._bar_after:
            self._advance_bar()

    def say(self, text: str) -> None:
        """One line, above the bar if there is one."""
        with contextlib.suppress(OSError):  # a full disk behind standard error
            self.console.print(plain(text, SAID))

    def progress(self) -> str:
        """How many of how many, where that is known."""
        return f"{self._done}" if self._total is None else f"{self._done} of {self._total}"

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _advance_bar(self) -> None:
        if self._bar is None:
            if self._done == self._total:
                return
            columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            # Redirecting would send results that belong to standard output to standard error.
            bar = Progress(*columns, console=self.console, redirect_stdout=False, redirect_stderr=False)
            self._bar = bar, bar.add_task("classifying", total=self._total)
            bar.start()
        bar, task = self._bar
        bar.update(task, completed=self._done)


def summary_table(figures: Summary) -> Table:
    """The figures of a run for people."""
    table = Table(title=Text(f"Summary: {plain(figures['bundle'])}"), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, value in summary_rows(figures):
        table.add_row(name, value)
    return table


def summary_rows(figures: Summary) -> list[tuple[str, str]]:
    """Name and value of each line of the table."""
    total = figures["timesteps"]
    counted = f"{figures['samples']}" + "".join(
        f", {figures[kind]} {kind}" for kind in ("still", "failed", "unreadable") if figures[kind]
    )
    rows = [("samples", counted + (" (SIMULATED events)" if figures["simulated"] else ""))]
    if figures["forgotten"]:
        rows.append(("  earlier ones, not in these figures", str(figures["forgotten"])))
    if figures["answered_by"]["edge"]:
        rows.append(("  answered by the edge itself", str(figures["answered_by"]["edge"])))
    if figures["reconnects"]:
        rows.append(("  streams opened again", str(figures["reconnects"])))
    if figures["full_t"]:
        rows += [
            (f"accuracy at full T={total}", _show(figures["accuracy"], ".2%")),
            ("accuracy with early exit, same results", _show(figures["accuracy_early_exit"], ".2%")),
            ("mean exit timestep, same results", _show(figures["mean_exit_timestep"], ".2f")),
        ]
    else:
        rows += [
            ("accuracy with early exit", _show(figures["accuracy"], ".2%")),
            *(
                [("accuracy at full T", _show(figures["accuracy_full_t"], ".2%"))]
                if "accuracy_full_t" in figures
                else []
            ),
            (f"mean timesteps of {total}", _show(figures["mean_timesteps"], ".2f")),
        ]
    rows += [
        ("payload bytes per sample", _show(figures["payload_bytes_per_sample"], ",.1f")),
        ("  as messages / with gRPC and HTTP/2 framing", _sent(figures)),
        ("float32 feature map : frame, per timestep", _show(figures["ratio_float32_feature_map"], ",.0f", "x")),
        ("packed spikes of the split : bytes sent", _show(figures["ratio_packed_spikes"], ",.1f", "x")),
        *(
            (f"{figures['picture_size']} picture as {name} : bytes sent", _picture(figures, form))
            for form, name in PICTURE_FILES.items()
        ),
        (
            "latency p50 / p99",
            f"{_show(figures['latency_ms_p50'], '.1f')} / {_show(figures['latency_ms_p99'], '.1f', ' ms')}",
        ),
    ]
    if (stream := figures["stream"]) is not None:
        odd = [f"{count:,} {what.replace('_', ' ')}" for what, count in stream.items() if count and what not in USUAL]
        rows.append(("live events", f"{stream['events']:,} in {stream['windows']:,} windows"))
        rows += [(f"  {what}", "") for what in odd]
    rows += _energy_rows(figures)
    stages = figures["stage_ms_p50"]
    rows += [
        (f"  {stage.replace('_', ' ')}, median per timestep", _show(stages[stage], ".2f", " ms")) for stage in stages
    ]
    return rows


def _energy_rows(figures: Summary) -> list[tuple[str, str]]:
    rows = []
    if figures["modelled_compute_j_per_sample"] is not None:
        parts = (figures["modelled_compute_j_per_sample"], figures["modelled_radio_j_per_sample"])
        shown = " / ".join(f"{1e6 * joules:,.1f}" for joules in parts)
        rows.append((f"energy, modelled: compute / radio ({figures['radio']})", f"{shown} uJ"))
    if figures["measured_j_per_sample"] is not None:
        rows.append((f"energy, measured ({figures['meter']})", f"{1e3 * figures['measured_j_per_sample']:,.1f} mJ"))
    if figures["busy_core_s_per_sample"] is not None:
        rows.append(("this process computed", f"{1e3 * figures['busy_core_s_per_sample']:,.1f} ms of a core"))
    if figures["board_dynamic_j_per_sample"] is not None:
        parts = (figures["board_dynamic_j_per_sample"], figures["board_total_j_per_sample"])
        shown = " / ".join(f"{1e3 * joules:,.1f}" for joules in parts)
        rows.append((f"energy of a {figures['board']}, stated power: dynamic / with the idle board", f"{shown} mJ"))
    return rows


def print_table(table: Table, out: TextIO) -> None:
    """A table in plain characters, coloured only on a terminal.

    Raises:
        OutputError: it cannot be written.
    """
    console = Console(file=out, highlight=False)
    with _standard_output():
        # Captured first: rich would end the process if standard output is closed.
        with console.capture() as drawn:
            console.print(table)
        out.write(drawn.get())
        out.flush()


def write(out: TextIO, text: str) -> None:
    """Write results to standard output, at once.

    Raises:
        OutputError: its disk is full, or its reader has ended.
    """
    with _standard_output():
        out.write(text)
        out.flush()


@contextlib.contextmanager
def _standard_output() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: it was closed
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(f"standard output cannot be written ({why}): the results after this are lost") from None


def _sent(figures: Summary) -> str:
    return " / ".join(_show(figures[f"{what}_bytes_per_sample"], ",.1f") for what in ("message", "wire"))


def _picture(figures: Summary, form: str) -> str:
    ratio = _show(figures[f"ratio_{form}"], ",.1f", "x")
    size = figures[f"{form}_bytes_per_sample"]
    return ratio if size is None else f"{ratio} ({size:,.0f} bytes)"


def _show(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
