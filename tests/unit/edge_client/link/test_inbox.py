"""What waits for a sample: in order, with a nudge in between, and why it ended last."""

from __future__ import annotations

import asyncio
import math

import pytest

from edge_client.link.inbox import Inbox
from shared.errors import CloudUnavailable
from shared.messages import StepResult

FIRST, SECOND = (StepResult(1, timestep, (0.5, 0.5)) for timestep in (1, 2))


async def test_answers_come_in_order_before_the_reason_why_there_are_no_more() -> None:
    inbox = Inbox()
    inbox.put(FIRST)
    inbox.put(SECOND)
    inbox.end(CloudUnavailable("gone"))
    assert [await inbox.take(0.0), await inbox.take(0.0)] == [FIRST, SECOND]
    for _ in range(2):
        with pytest.raises(CloudUnavailable, match="gone"):
            await inbox.take(0.0)


async def test_whoever_waits_is_woken_by_an_answer_a_nudge_and_the_end() -> None:
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.take(math.inf))
    await asyncio.sleep(0)
    inbox.put(FIRST)
    assert await waiting == FIRST
    waiting = asyncio.create_task(inbox.take(math.inf))
    await asyncio.sleep(0)
    inbox.nudge()
    assert await waiting is None
    waiting = asyncio.create_task(inbox.take(math.inf))
    await asyncio.sleep(0)
    inbox.end(CloudUnavailable("gone"))
    with pytest.raises(CloudUnavailable):
        await waiting


async def test_a_nudge_that_nobody_waits_for_is_kept_and_an_answer_comes_first() -> None:
    inbox = Inbox()
    inbox.nudge()
    inbox.put(FIRST)
    assert await inbox.take(0.0) == FIRST
    assert await inbox.take(0.0) is None
    with pytest.raises(TimeoutError):
        await inbox.take(0.0)


async def test_time_is_up() -> None:
    inbox = Inbox()
    with pytest.raises(TimeoutError):
        await inbox.take(0.01)
    inbox.put(FIRST)
    assert await inbox.take(-1.0) == FIRST


async def test_waiting_can_be_cancelled_and_begun_again() -> None:
    inbox = Inbox()
    waiting = asyncio.create_task(inbox.take(math.inf))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    inbox.put(FIRST)
    assert await inbox.take(0.0) == FIRST


def test_whoever_asks_is_told_when_nothing_is_leaving_any_more() -> None:
    inbox = Inbox()
    told: list[str] = []
    inbox.when_written(lambda: told.append("nothing was sent"))
    inbox.leaving += 2
    inbox.when_written(lambda: told.append("forgotten"))
    inbox.when_written(lambda: told.append("both have left"))
    inbox.left()
    assert told == ["nothing was sent"]
    inbox.left()
    assert told == ["nothing was sent", "both have left"]
