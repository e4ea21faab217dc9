"""How people, log readers and whoever waits for the ready file learn that requests are served, and where."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.command_line import join_address
from shared.errors import ConfigError

log = logging.getLogger(__name__)


def announce(ready_file: Path | None, addresses: Mapping[str, tuple[str, int]], bundles: Sequence[str]) -> None:
    """Log the line `ready` and write the ready file.

    Args:
        ready_file: None for none.
        addresses: `listen`, `metrics` and, where there is one, `health`.
        bundles: names of what is served.

    Raises:
        ConfigError: the file cannot be written.
    """
    where = {**{name: join_address(address) for name, address in addresses.items()}, "pid": os.getpid()}
    log.info(
        "ready: listening on %s, metrics on http://%s/metrics", where["listen"], where["metrics"],
        extra={"event": "ready", **where, "bundles": list(bundles)},
    )  # fmt: skip
    if ready_file is not None:
        _write_whole(ready_file, json.dumps(where) + "\n")


def withdraw(ready_file: Path | None) -> None:
    """Remove the ready file, of this process or of one before it."""
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"--ready-file {path}: cannot be written ({error.strerror})") from None
