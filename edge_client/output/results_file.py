"""Verdicts that outlive the process: a file of JSON lines that a killed run goes on with.

The first line says which run it belongs to. Each other line is one verdict, handed to the operating system before the
next sample is reported. What failed or could not be read has no line, so that a resumed run tries it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.output.lines import SCHEMA, verdict_line
from shared.errors import ConfigError, OutputError

RunIdentity = Mapping[str, Any]
"""What two runs must have in common for their verdicts to stand in one file; plain values for JSON."""

log = logging.getLogger(__name__)


class ResultsFile:
    """The results file of a run, open; close it.

    Args:
        path: created if it is not there.
        identity: of this run.
        class_names: of the bundle.
        resume: continue the file. Without it the file must be new or empty.

    Raises:
        ConfigError: the file holds something else, or is in use, or cannot be opened.
    """

    def __init__(self, path: Path, identity: RunIdentity, class_names: Sequence[str], *, resume: bool) -> None:
        self._path = path
        self._identity = {key: value for key, value in identity.items() if value is not None}
        self._class_names = class_names
        self._broken = False
        self._file = _open(path)
        try:
            self._begun, self._done = self._take_up(resume)
        except BaseException:
            self._file.close()
            raise
        self.count = sum(self._done.values())
        """Verdicts that were there already."""

    def skip(self, name: str) -> bool:
        """Whether this sample has its verdict. A source that has a name twice asks for it twice."""
        if self._done[name] == 0:
            return False
        self._done[name] -= 1
        return True

    def write(self, sample: Sample, verdict: Verdict) -> None:
        """Append a verdict.

        Raises:
            OutputError: the disk is full, or gone.
        """
        lines = [] if self._begun else [{"schema": SCHEMA, "run": self._identity}]
        lines.append(dict(verdict_line(sample, verdict, self._class_names)))
        text = "".join(json.dumps(line) + "\n" for line in lines).encode()
        try:
            # One write: the next run cuts off what a kill or a full disk leaves.
            whole = not self._broken and self._file.write(text) == len(text)
            why = "the disk is full"
        except OSError as error:
            whole, why = False, error.strerror or str(error)
        if not whole:
            self._broken = True
            raise OutputError(
                f"{self._path}: the verdict of {sample.name} cannot be written ({why}): make room and go on "
                "with --resume"
            )
        self._begun = True

    def close(self) -> None:
        """May be called twice."""
        self._file.close()

    def _take_up(self, resume: bool) -> tuple[bool, Counter[str]]:
        """Whether the file has its first line, and the names that have verdicts."""
        raw = self._file.readall()
        if raw and not resume:
            raise ConfigError(f"{self._path} is not empty: go on with it by --resume, or name another file with --out")
        lines = self._whole_lines(raw)
        if not lines:
            return False, Counter()
        if not isinstance(lines[0].get("run"), dict):
            raise ConfigError(f"{self._path} is no results file: name another one with --out")
        if lines[0].get("schema") != SCHEMA:
            raise ConfigError(
                f"{self._path} was written by another version: its lines have schema {lines[0].get('schema')}, "
                f"here it is {SCHEMA}. Name another file with --out"
            )
        self._compare(lines[0]["run"])
        return True, Counter(line["sample"] for line in lines[1:])

    def _whole_lines(self, raw: bytes) -> list[dict[str, Any]]:
        """The lines of the file; a torn last one is cut off."""
        lines, start = [], 0
        for number, text in enumerate(raw.splitlines(keepends=True), 1):
            line = _parse(text, first=number == 1)
            if line is None:
                if start + len(text) < len(raw):
                    raise ConfigError(
                        f"{self._path}, line {number}: damaged or no result: mend it, or use another file"
                    )
                log.warning("%s: the last line was torn: its %d bytes are cut off", self._path, len(text))
                self._file.truncate(start)
                break
            lines.append(line)
            start += len(text)
        return lines

    def _compare(self, there: RunIdentity) -> None:
        names = list(dict.fromkeys((*there, *self._identity)))
        differences = [
            f"{name} is {_short(there.get(name))} there and {_short(self._identity.get(name))} here"
            for name in names
            if there.get(name) != self._identity.get(name)
        ]
        if differences:
            raise ConfigError(
                f"{self._path} holds the results of another run: {'; '.join(differences)}. Name another file with --out"
            )


def _open(path: Path) -> FileIO:
    try:
        # Unbuffered: a verdict is with the operating system when `write` returns.
        file = path.open("a+b", buffering=0)
        file.seek(0)
    except OSError as error:
        raise ConfigError(f"--out is {path}: it cannot be written ({error.strerror})") from None
    with contextlib.suppress(ImportError):  # not on Windows
        import fcntl  # noqa: PLC0415

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ConfigError(f"--out is {path}: another run is writing it") from None
        except OSError as error:  # a file system without locks
            log.debug("%s: not locked (%s)", path, os.strerror(error.errno or 0))
    return file


def _parse(text: bytes, *, first: bool) -> dict[str, Any] | None:
    """One line as an object of the file; None if it is none."""
    if not text.endswith(b"\n"):
        return None
    try:
        line = json.loads(text)
    except ValueError:
        return None
    if not isinstance(line, dict) or not (first or isinstance(line.get("sample"), str)):
        return None
    return line


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
