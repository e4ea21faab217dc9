"""gRPC's threads, and those of a head's runtime, do not come along in a fork: what a child does with them hangs."""

from __future__ import annotations

import os


class _Process:
    """Of this process: whether it has used gRPC, and whether it is a fork of one that had."""

    used = False
    broken = False


def note_use() -> None:
    """This process opens a connection: its forks cannot."""
    _Process.used = True


def is_broken() -> bool:
    """Whether this process was forked from one that had opened a connection."""
    return _Process.broken


def check() -> None:
    """Say so, before anything hangs.

    Raises:
        RuntimeError: this process was forked from one that had opened a connection.
    """
    if _Process.broken:
        raise RuntimeError(
            "this process was forked from one that had opened an Edge, and no Edge works in a fork: start processes "
            "with multiprocessing.get_context('spawn'), or fork before the first Edge is opened"
        )


def _after_fork() -> None:
    _Process.broken = _Process.broken or _Process.used


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)
