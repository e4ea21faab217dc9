"""Shows a progress bar on a terminal, and logs a line now and then elsewhere; as JSON with `--log-format json`."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from training.recipe import StageRecipe

log = logging.getLogger("neucodex.train")

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Shows the steps done of `total`, with a note, on standard error. An unknown total may come with the steps."""

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
        """Show that `step` steps are done."""
        self._total = total or self._total
        if self._bars is not None:
            self._bars.update(self._task, completed=step, total=self._total, note=note)
        elif not self._quiet and time.monotonic() - self._last_line > SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            log.info("%s: %d of %s%s", self._title, step, self._total or "?", note and f", {note}")


@dataclass(frozen=True)
class Place:
    """Where a run stands: in stage `number` of `stages`, counted from 1."""

    number: int
    stages: int
    stage: StageRecipe

    def __str__(self) -> str:
        return f"stage {self.number} of {self.stages} ({self.stage.kind})"

    def epoch(self, epoch: int) -> str:
        """The epoch, counted from 0, for people."""
        return f"epoch {epoch + 1} of {self.stage.epochs}"

    def log(self, line: Mapping[str, Any]) -> None:
        """Say that an epoch has ended.

        Args:
            line: `epoch` (counted from 1), `loss`, `train_accuracy`, `held_out_accuracy` by timestep, `seconds` of the
                stage so far. They become fields of the JSON.
        """
        left = line["seconds"] / line["epoch"] * (self.stage.epochs - line["epoch"])
        log.info(
            "%s, %s: loss %.3f, train accuracy %.1f %%, held-out accuracy %.1f %%; %s",
            self,
            self.epoch(line["epoch"] - 1),
            line["loss"],
            100 * line["train_accuracy"],
            100 * line["held_out_accuracy"][-1],
            f"{as_time(left)} left in this stage" if left else f"done in {as_time(line['seconds'])}",
            extra={
                "event": "epoch",
                "stage": self.number,
                "stages": self.stages,
                "kind": self.stage.kind,
                "epochs": self.stage.epochs,
                "seconds_left": round(left, 1),
                **line,
            },
        )


def as_time(seconds: float) -> str:
    """For people: 40 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
