"""How the event loop does: once a second, how late it is and how many tasks it has."""

from __future__ import annotations

import asyncio

from shared.metrics import Metrics

BEAT_S = 1.0


async def beat(metrics: Metrics) -> None:
    """Measure until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT_S
        await asyncio.sleep(BEAT_S)
        metrics.observe("neucodex_cloud_loop_lag_seconds", max(loop.time() - due, 0.0))
        metrics.set("neucodex_cloud_tasks", len(asyncio.all_tasks()))
