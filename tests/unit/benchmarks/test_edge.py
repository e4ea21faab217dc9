"""What the edge's benchmark reckons: troubles, comparisons, ratios; and a link that does as it is told."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from benchmarks.edge.cuts import compare, plan
from benchmarks.edge.lookahead import _goals
from benchmarks.edge.overhead import _measurement
from benchmarks.links.proxy import CUTS, DelayProxy, LinkProcess
from edge_client.inference.verdict import Step, Verdict
from tests.support.processes import wait_for


def test_troubles_are_as_many_as_asked_and_within_the_run() -> None:
    troubles = plan(2000, 20, 5, (1.0, 10.0), random.Random(3))
    assert [trouble.after for trouble in troubles] == sorted({trouble.after for trouble in troubles})
    assert all(0 < trouble.after < 2000 for trouble in troubles)
    assert sum(trouble.how is None for trouble in troubles) == 5
    assert {trouble.how for trouble in troubles} == {None, *CUTS}
    assert all(1.0 <= trouble.seconds <= 10.0 for trouble in troubles if trouble.how)
    assert troubles == plan(2000, 20, 5, (1.0, 10.0), random.Random(3))


def line(sample: int, **changes: Any) -> dict[str, Any]:
    same = {"prediction": "7", "confidence": 0.9, "timesteps": 2, "answered_by": "cloud"}
    return {"sample": str(sample), **same, **changes}


def test_a_comparison_sees_what_is_missing_double_and_different() -> None:
    whole = [line(number) for number in range(5)]
    disturbed = [
        line(0, confidence=0.9000001),
        line(1, prediction="8"),
        line(2, prediction="8", answered_by="edge"),  # the edge's own answer may differ
        line(3, error="gone", prediction=None),
        line(4),
        line(4),
    ]
    assert compare(whole, disturbed) == {"verdicts": 4, "twice": 1, "by the cloud": 4, "differ": 1}
    assert compare(whole, whole) == {"verdicts": 5, "twice": 0, "by the cloud": 5, "differ": 0}


def figures(p50: float, longer: float | None, wire_bytes: float) -> dict[str, Any]:
    return {
        "latency ms p10 / p50 / p90": [0.0, p50, 0.0],
        "latency ms p50, more than one timestep": longer,
        "wire bytes per sample": wire_bytes,
    }


def test_auto_is_compared_with_the_cheapest_that_is_as_fast() -> None:
    found = {
        "1": figures(50, 160, 100), "2": figures(51, 91, 150), "3": figures(50, 90, 180), "4": figures(45, 60, 400),
        "auto": figures(50, 90, 120),
    }  # fmt: skip
    median, longer, cheap = _goals(found, "4")
    assert median.measured == pytest.approx(50 / 45, abs=1e-3)
    assert longer.measured == pytest.approx(160 / 90, abs=1e-3)
    assert (cheap.measured, cheap.note[:9]) == (pytest.approx(120 / 150), "that is 2")
    alone = _goals({**found, "2": figures(60, 91, 150), "3": figures(60, 90, 180), "4": figures(60, 60, 400)}, "4")[2]
    assert (alone.measured, alone.note[:11]) == (1.0, "that is aut")
    none = _goals({name: {**row, "latency ms p50, more than one timestep": None} for name, row in found.items()}, "4")
    assert none[1].measured is None
    assert none[1].note


def test_overhead_is_what_is_left() -> None:
    step = Step(1, 0, 0.5, False, 0.002, 0.0001, 0.0049, 0.00005, 0.004, 1)
    verdicts = [Verdict(0, 0, 0.5, 4, 8, 4 * 0.0071, "cloud", (step,) * 4)] * 3
    part = _measurement(verdicts, [0.00015] * 10, 0.9, {})
    # 7.1 ms of wall, 2 of head, 3.6 of tail, 0.15 of bare round trip
    assert part.targets[0].measured == pytest.approx(1350.0)
    assert part.results["us per timestep, p10 / p50"]["decoding, gather, scatter"] == pytest.approx([400.0, 400.0])


async def echo_server() -> asyncio.Server:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()

    return await asyncio.start_server(echo, "127.0.0.1", 0)


async def test_a_proxy_delays_counts_and_is_cut_and_mended() -> None:
    server = await echo_server()
    proxy = DelayProxy(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", delay_s=0.02)
    host, _, port = (await proxy.start()).rpartition(":")

    async def ask(connection: Any, within_s: float = 5.0) -> bytes:
        reader, writer = connection
        writer.write(b"12345")
        answer: bytes = await asyncio.wait_for(reader.readexactly(5), within_s)
        return answer

    first = await asyncio.open_connection(host, int(port))
    began = asyncio.get_running_loop().time()
    assert await ask(first) == b"12345"
    assert asyncio.get_running_loop().time() - began >= 0.04
    assert (proxy.counted["up"], proxy.counted["down"]) == (5, 5)

    await proxy.cut("stalled")
    waiting = asyncio.create_task(ask(first))
    await asyncio.to_thread(wait_for, lambda: proxy.counted["up"] == 10, "bytes to arrive")
    await proxy.mend()
    assert await waiting == b"12345"

    await proxy.cut("dropped")
    waiting = asyncio.create_task(ask(first))
    await asyncio.to_thread(wait_for, lambda: proxy.counted["up"] == 15, "bytes to arrive")
    await proxy.mend()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await waiting

    second = await asyncio.open_connection(host, int(port))
    assert await ask(second) == b"12345"
    await proxy.cut("closed")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await ask(second)
    third = await asyncio.open_connection(host, int(port))
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await ask(third)
    assert proxy.counted["refused"] == 1
    await proxy.mend()
    assert await ask(await asyncio.open_connection(host, int(port))) == b"12345"
    await proxy.close()
    server.close()


async def test_a_proxy_in_a_process_of_its_own() -> None:
    server = await echo_server()
    with LinkProcess(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as link:
        host, _, port = link.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"12345")
        assert await asyncio.wait_for(reader.readexactly(5), 10.0) == b"12345"
        link.call(DelayProxy.cut, "closed")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(5), 10.0)
        link.call(DelayProxy.mend)
    server.close()
