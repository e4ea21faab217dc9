"""A cloud process from start to end: bind, load, warm up, serve, reload, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import grpc
from grpc_reflection.v1alpha import reflection

from cloud_server.bundle_manager import Served
from cloud_server.config import CloudConfig
from cloud_server.ready import announce, withdraw
from cloud_server.rpc.grpc_server import bind, server_options
from cloud_server.rpc.health import SERVICE as HEALTH_SERVICE
from cloud_server.rpc.health import Health
from cloud_server.rpc.servicer import SERVICE, CoInference
from shared.errors import EngineFailed
from shared.metrics import CLOUD_METRICS, Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread in Python code makes room for another that asks. The engine asks after each
operation that computes without the GIL: with Python's 5 ms a burst of messages could hold a batch up that long."""

LAST_WRITES = 1.0
"""Seconds for the last messages to leave after the drain."""

BEAT_S = 1.0
"""Seconds between two looks at the event loop."""


class ChildProcess(Protocol):
    """One of several processes as its server sees it; `processes/child.py` has them."""

    @property
    def early(self) -> bool:
        """Whether it listens before its bundles are warm."""

    async def wait_for_go(self, bundles: list[str], lost: Callable[[], None]) -> None:
        """Tell the parent that all is warm, and wait until it says to serve; `lost` is called when it is gone."""


async def serve(config: CloudConfig, child: ChildProcess | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; told so before it serves, it leaves what it was doing.

    Args:
        config: what is served, and how.
        child: where this is one of several processes; its parent then serves the metrics and says what is ready.

    Raises:
        ConfigError: an address is taken, there is no such device, or no memory for the slots.
        BundleError: a bundle cannot be served.
        EngineFailed: nothing can be stepped any more; all streams are sent away.
    """
    withdraw(config.ready_file)
    config.security.check(config.listen)
    sys.setswitchinterval(SWITCH_INTERVAL)
    metrics = Metrics(CLOUD_METRICS)
    service = CoInference(config, metrics)
    served = Served(config, service, metrics)
    health = Health((SERVICE,))
    server = grpc.aio.server(options=server_options(config, served.longest_message))
    server.add_generic_rpc_handlers((service.handler(), health.handler()))
    if config.shows_itself:
        reflection.enable_server_reflection((SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
    stopped = _signals(signal.SIGTERM) if child else _signals(signal.SIGTERM, signal.SIGINT)
    hung_up = _signals(signal.SIGHUP)
    beside = [asyncio.create_task(_beat(metrics))]
    try:
        if child is not None and not child.early:
            await _unless_told(stopped, served.begin())
        addresses = {"listen": bind(server, config.listen, config.security, "--listen")}
        if config.health is not None:
            addresses["health"] = await health.listen(config.health, shared=config.processes > 1)
        addresses["metrics"] = (config.metrics[0], 0 if child else metrics.serve(*config.metrics))
        await server.start()
        if child is None or child.early:
            await _unless_told(stopped, served.begin())
        names = [lane.name for lane in served.lanes]
        if child is not None:
            await _unless_told(stopped, child.wait_for_go(names, lambda: stopped.put_nowait(None)))
        served.offer()
        health.serving = True
        if child is None:
            announce(config.ready_file, addresses, names)
        beside.append(asyncio.create_task(_reload(served, hung_up)))
        await _unless_told(stopped, served.failure())
    except _Told:
        await _drain(service, health, config.drain_timeout, stopped)
    except EngineFailed:
        await _drain(service, health, 0.0, stopped)
        raise
    finally:
        for task in beside:
            task.cancel()
        await server.stop(LAST_WRITES)
        await health.close()
        service.close()
        await served.end()
        withdraw(config.ready_file)
    log.info("stopped")


async def _beat(metrics: Metrics) -> None:
    """Measure once a second, until cancelled, how late the event loop is and how many tasks it has."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + BEAT_S
        await asyncio.sleep(BEAT_S)
        metrics.observe("neucodex_cloud_loop_lag_seconds", max(loop.time() - due, 0.0))
        metrics.set("neucodex_cloud_tasks", len(asyncio.all_tasks()))


class _Told(Exception):
    """To stop."""


async def _unless_told(stopped: asyncio.Queue[None], work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, and give what it gives.

    Raises:
        _Told: there was an order to stop before it was done; it is cancelled.
    """
    doing, told = asyncio.create_task(work), asyncio.create_task(stopped.get())
    await asyncio.wait((doing, told), return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        raise _Told
    told.cancel()
    return doing.result()


def _signals(*numbers: signal.Signals) -> asyncio.Queue[None]:
    """Filled by these signals, once each time; also by one that was held back until now."""
    asked: asyncio.Queue[None] = asyncio.Queue()
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, asked.put_nowait, None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return asked


async def _reload(served: Served, hung_up: asyncio.Queue[None]) -> None:
    """Look for bundles again whenever told to, until cancelled."""
    while True:
        await hung_up.get()
        try:
            await served.reload()
        except Exception:
            log.exception("bundles are not reloaded")


async def _drain(service: CoInference, health: Health, timeout: float, stopped: asyncio.Queue[None]) -> None:
    """Drain; another signal is an order to hurry."""
    log.info("draining for at most %g s", timeout)
    health.serving = False
    try:
        drained = await _unless_told(stopped, service.drain(timeout))
    except _Told:
        log.warning("told to stop twice: not waiting for open samples")
    else:
        if not drained:
            log.warning("drain timeout: some samples were still open; their edges start them anew elsewhere")
