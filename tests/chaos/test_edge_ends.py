"""An edge ends when it is told to, whatever its link is doing at that moment."""

from __future__ import annotations

import asyncio
import random
import socket

import numpy as np
import pytest

from edge_client.build import open_edge
from edge_client.config import EdgeConfig
from edge_client.inference.sample import Sample
from shared.bundle import Bundle
from tests.chaos.test_link_faults import SHIPPED
from tests.support.processes import DEADLINE

RUNS = 50


@pytest.mark.parametrize("silent", [False, True])
async def test_an_edge_that_finds_no_cloud_ends(silent: bool) -> None:
    """Ends come at any moment of a try: on Python 3.11 `asyncio.wait_for` loses a cancellation at some of them."""
    chance = random.Random(7)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if silent:
            nobody.listen(RUNS * 100)  # connections are made, and nothing is ever said
        here = nobody.getsockname()
        config = EdgeConfig(SHIPPED.path, (here,), on_loss="fallback", fallback_after_s=0.0, connect_deadline_s=0.2)

        async def run(moment_s: float) -> None:
            async with open_edge(config, SHIPPED) as network:
                verdict = await network.classify(_empty(SHIPPED))
                assert verdict.answered_by == "edge"
                await asyncio.sleep(moment_s)

        runs = [asyncio.create_task(run(chance.uniform(0.0, 0.6))) for _ in range(RUNS)]
        _, hanging = await asyncio.wait(runs, timeout=DEADLINE)
    for one in hanging:
        one.cancel()
    assert not hanging, f"{len(hanging)} of {RUNS} edges went on"
    for one in runs:
        one.result()


def _empty(bundle: Bundle) -> Sample:
    return Sample(0, "empty", None, np.zeros(bundle.manifest.network.sample_shape, np.uint8))
