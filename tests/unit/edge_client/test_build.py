"""How long an edge waits for its first stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from edge_client.build import _first_stream
from edge_client.config import EdgeConfig
from edge_client.link.cloud_link import CloudLink
from edge_client.link.errors import not_reached
from shared.errors import CloudUnavailable
from shared.messages import WARMING_UP

HERE = ("127.0.0.1", 1)
REFUSED = not_reached("127.0.0.1:1", "failed to connect: connect: Connection refused (111)")


class Link:
    """A link whose stream opens after some seconds that nobody waits for.

    Args:
        opens_after_s: None for never.
        heard: why the last try failed.
    """

    def __init__(self, opens_after_s: float | None, heard: CloudUnavailable | None) -> None:
        self.starting = heard
        self.waited_s = 0.0
        self._opens_after_s = opens_after_s

    async def transport(self, within_s: float) -> None:
        if self._opens_after_s is None or self.waited_s + within_s < self._opens_after_s:
            self.waited_s += within_s
            raise TimeoutError
        self.waited_s = self._opens_after_s

    def unavailable_error(self, waited_s: float | None = None) -> CloudUnavailable:
        return CloudUnavailable(f"none within {waited_s}")


async def wait(link: Link, **settings: Any) -> None:
    await _first_stream(EdgeConfig(Path(), (HERE,), **settings), cast(CloudLink, link))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_what_sounds_like_a_cloud_that_starts() -> None:
    assert REFUSED.starting
    assert not_reached("a:1", f"{WARMING_UP}: try again soon").starting
    assert not not_reached("a:1", "draining: go to another replica").starting


async def test_a_cloud_that_starts_is_waited_for_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    await wait(Link(20.0, REFUSED))
    (said,) = warnings(caplog)
    assert "Connection refused" in said
    assert "waiting up to 30 s for a cloud to start" in said


async def test_a_cloud_that_is_there_within_a_second_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    await wait(Link(0.5, REFUSED))
    assert not warnings(caplog)


@pytest.mark.parametrize(
    ("settings", "within"),
    [
        ({}, 30.0),
        ({"start_deadline_s": 8.0}, 8.0),
        ({"start_deadline_s": 0.0}, 5.0),
        ({"connect_deadline_s": 0.5}, 3.0),
    ],
)
async def test_the_wait_ends(settings: dict[str, float], within: float) -> None:
    link = Link(None, REFUSED)
    with pytest.raises(CloudUnavailable, match=f"none within {within}"):
        await wait(link, **settings)
    assert link.waited_s == within


async def test_a_cloud_that_is_silent_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CloudUnavailable, match=r"none within 5\.0"):
        await wait(Link(None, None))
    assert not warnings(caplog)


async def test_an_edge_that_can_do_without_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    link = Link(None, REFUSED)
    await wait(link, on_loss="wait")
    assert link.waited_s == 5.0
    assert "going on without one" in warnings(caplog)[0]
