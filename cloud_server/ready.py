"""Announces that requests are served, and where: a line in the log, and the ready file."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.command_line import join_address
from shared.errors import ConfigError

log = logging.getLogger(__name__)


def announce_ready(ready_file: Path | None, addresses: Mapping[str, tuple[str, int]], bundles: Sequence[str]) -> None:
    """Log the line `ready` and write the ready file.

    Args:
        ready_file: where to write it; None to write none.
        addresses: of `listen`, `metrics` and, if it is set, `health`.
        bundles: names of the bundles that are served.

    Raises:
        ConfigError: the file cannot be written.
    """
    fields = {**{name: join_address(address) for name, address in addresses.items()}, "pid": os.getpid()}
    log.info(
        "ready: listening on %s, metrics on http://%s/metrics", fields["listen"], fields["metrics"],
        extra={"event": "ready", **fields, "bundles": list(bundles)},
    )  # fmt: skip
    if ready_file is not None:
        _write_atomically(ready_file, json.dumps(fields) + "\n")


def remove_ready_file(ready_file: Path | None) -> None:
    """Remove the ready file of this process, or one that an earlier process has left."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


def _write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader finds the whole text or no file."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"--ready-file {path}: cannot be written ({error.strerror})") from None
