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
    """Steps done of `total`, with a note; on standard error."""

    def __init__(self, title: str, total: int, quiet: bool = False) -> None:
        self._title = title
        self._total = total
        self._quiet = quiet
        self._bars: Bars | None = None
        self._last_line = time.monotonic()

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

    def at(self, step: int, note: str) -> None:
        """`step` of the total are done."""
        if self._bars is not None:
            self._bars.update(self._task, completed=step, note=note)
        elif not self._quiet and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s: %d of %d, %s", self._title, step, self._total, note)
