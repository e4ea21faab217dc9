"""Logs on standard error: lines for people, or one JSON object a line, for every logger."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import logging
import os
import re
import sys
import threading
import warnings
from types import TracebackType
from typing import IO, Literal

from pythonjsonlogger.json import JsonFormatter

from shared.plain_text import plain
from shared.timestamps import rfc3339

LogFormat = Literal["text", "json"]

LOGGED = 2000
"""Characters of a message in the log."""

STDERR = 2
END = b"\x00"
"""The last line of the process."""

LEVELS = {
    re.compile(r"[EF]\d{4}|error: "): logging.ERROR,
    re.compile(r"W\d{4}|failed: |skipped: |Usage: |WARNING: "): logging.WARNING,
}
"""By how a line that is no log record begins: gRPC's core writes E, W or I and the date, our commands write words."""

log = logging.getLogger(__name__)


class TextFormatter(logging.Formatter):
    """One line a record, with its time in UTC, even if its message has line breaks; a traceback follows unchanged."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802  logging's name
        """The record's time."""
        return rfc3339(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The line."""
        record.message = plain(record.message, LOGGED)
        return super().formatMessage(record)


class JsonLineFormatter(JsonFormatter):
    """An object with time, level, logger, message, and what the record has besides."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, _: str | None = None) -> str:  # noqa: N802  logging's name
        """The record's time."""
        return rfc3339(record.created)


def configure_logs(log_format: LogFormat, log_level: str) -> None:
    """Log to standard error. As JSON, everything that reaches standard error becomes an object a line: tracebacks,
    warnings, what a library writes there itself (gRPC's core does).
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter())
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what matters of a picture is in our own messages
    if log_format == "json":
        handler.setFormatter(JsonLineFormatter())
        logging.captureWarnings(True)
        sys.excepthook = _log_uncaught
        threading.excepthook = lambda failed: _log_uncaught(
            failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
        )
        if _is_standard_error(sys.stderr):
            handler.setStream(_convert_standard_error(handler))
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)


class _Unfailing(io.TextIOWrapper):
    """Standard error whose lines are lost where they cannot be written."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def let_standard_error_fail() -> None:
    """From now on a log on a full disk, or one that nobody reads, costs its lines and nothing else: no run and no exit
    code.
    """
    real = sys.__stderr__
    if sys.stderr is None:  # it was closed: what belongs there must not go elsewhere
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  until the process ends
    elif real is not None and sys.stderr is real:
        sys.stderr = _Unfailing(real.buffer, encoding=real.encoding, errors="backslashreplace", line_buffering=True)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("ended by an error that nobody caught", exc_info=(kind, error, trace))


def _is_standard_error(stream: IO[str]) -> bool:
    try:
        return stream.fileno() == STDERR
    except (OSError, ValueError):  # a stand-in without a file
        return False


def _convert_standard_error(handler: logging.Handler) -> IO[str]:
    """Put a pipe in the place of standard error, and hand each line from it on as JSON. Returns the real one.

    What a process writes just before it is killed, or aborts, may stay in the pipe.
    """
    out = open(os.dup(STDERR), "w", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115
    reading, writing = os.pipe()
    os.dup2(writing, STDERR)

    def convert() -> None:
        with open(reading, "rb") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith(END):
                    return
                text = line.decode("utf-8", "backslashreplace").rstrip()
                if text:
                    # In one piece: log records come from other threads. They share the handler's lock.
                    handler.acquire()
                    try:
                        # A full disk costs lines. If this thread ended, the pipe would fill and its writers wait.
                        with contextlib.suppress(OSError):
                            out.write((text if _is_object(text) else handler.format(_record(text))) + "\n")
                    finally:
                        handler.release()

    converting = threading.Thread(target=convert, name="standard error", daemon=True)
    converting.start()

    def end() -> None:
        sys.stderr.flush()
        os.dup2(out.fileno(), STDERR)
        # Other processes may hold the pipe open, so its end is said.
        os.write(writing, b"\n" + END + b"\n")
        converting.join(1.0)

    atexit.register(end)
    return out


def _is_object(text: str) -> bool:
    """Whether a line is one already: of a process that shares this standard error."""
    if not text.startswith("{"):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _record(text: str) -> logging.LogRecord:
    level = next((level for begins, level in LEVELS.items() if begins.match(text)), logging.INFO)
    return logging.LogRecord("stderr", level, "", 0, text, None, None)
