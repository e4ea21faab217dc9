"""A file whose age says whether the edge is alive: a probe reads it without running Python.

It says nothing about the cloud: an edge that answers alone is alive, and its metrics say how it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ConfigError

BEAT_S = 10.0
"""Seconds between two touches. A probe should allow several of them: the loop stands still while a head is loaded."""


@contextlib.contextmanager
def beating(file: Path | None, every_s: float = BEAT_S) -> Iterator[None]:
    """Touch a file from the running event loop, at once and every `every_s` seconds; None: do nothing.

    Raises:
        ConfigError: it cannot be written.
    """
    if file is None:
        yield
        return
    try:
        file.touch()
    except OSError as error:
        raise ConfigError(f"--heartbeat is {file}: it cannot be written ({error.strerror})") from None
    task = asyncio.get_running_loop().create_task(_beat(file, every_s))
    try:
        yield
    finally:
        task.cancel()


async def _beat(file: Path, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        with contextlib.suppress(OSError):  # then it ages, which is what the probe looks at
            file.touch()  # noqa: ASYNC240  one call
