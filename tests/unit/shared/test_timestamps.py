"""Moments as texts."""

from __future__ import annotations

from datetime import datetime, timezone

from shared.timestamps import rfc3339


def test_a_moment_has_a_date_a_zone_and_milliseconds() -> None:
    assert rfc3339(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


def test_it_is_the_moment() -> None:
    read = datetime.strptime(rfc3339(1_800_000_000.25), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert read.timestamp() == 1_800_000_000.25
