"""A progress bar where a person watches, a line now and then where a file does."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

log = logging.getLogger("neucodex.train")

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Steps done of `total`, with a note; on standard error. A total that is not known yet comes with the steps."""

    def __init__(self, title: str, total: int | None = None, quiet: bool = False) -> None:
        self._title = title
        self._total = total
        self._quiet = quiet
        self._bars: Bars | None = None
        self._begun = self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and not self._quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bars = Bars(*columns, console=Console(stderr=True))
            self._bars.start()
            self._task = self._bars.add_task(self._title, total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        elif not self._quiet and error is None:
            log.info("%s: done in %.1f s", self._title, time.monotonic() - self._begun)

    def at(self, step: int, note: str = "", total: int | None = None) -> None:
        """`step` of the total are done."""
        self._total = total or self._total
        if self._bars is not None:
            self._bars.update(self._task, completed=step, total=self._total, note=note)
        elif not self._quiet and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s: %d of %s%s", self._title, step, self._total or "?", note and f", {note}")
