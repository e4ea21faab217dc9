"""Waiting with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` returns or raises; it is cancelled when the time is up, and when the caller is.

    Not `asyncio.wait_for`: up to Python 3.11 that loses the caller's cancellation when `work` ends in the same moment,
    and a loop that was told to end goes on.

    Raises:
        TimeoutError: the time is up.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=max(0.0, seconds))
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
