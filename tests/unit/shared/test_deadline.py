"""Waiting with a deadline: results, errors, and cancellations that come at the worst moment."""

from __future__ import annotations

import asyncio

import pytest

from shared.deadline import within


async def test_what_is_there_in_time_is_returned_or_raised() -> None:
    async def fails() -> None:
        raise KeyError("x")

    assert await within(10.0, asyncio.sleep(0, "done")) == "done"
    with pytest.raises(KeyError):
        await within(10.0, fails())


async def test_late_work_is_cancelled_and_has_ended() -> None:
    ended = asyncio.Event()

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        await within(0.001, late())
    assert ended.is_set()


async def test_a_cancellation_is_not_lost_to_a_result_of_the_same_moment() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(10.0, result))
    while not result._callbacks:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
