"""Moments for people and programs elsewhere: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import datetime, timezone


def rfc3339(seconds: float) -> str:
    """A moment as `2026-11-30T12:00:00.123Z`.

    Args:
        seconds: since 1970, as `time.time` has them.
    """
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
