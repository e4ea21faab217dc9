"""A cloud process from start to end: listen, load, warm up, serve, reload, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import grpc
from grpc_reflection.v1alpha import reflection

from cloud_server.bundle_manager import BundleManager
from cloud_server.config import CloudConfig
from cloud_server.ready import announce_ready, remove_ready_file
from cloud_server.rpc.grpc_server import bind, server_options
from cloud_server.rpc.health import SERVICE as HEALTH_SERVICE
from cloud_server.rpc.health import HealthServicer
from cloud_server.rpc.servicer import SERVICE, CoInferenceServicer
from shared.errors import EngineFailed
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that runs Python code gives the GIL to another that waits for it. The engine waits for
it after each operation that runs without it. With Python's 5 ms, a burst of messages could delay a batch that long."""

LAST_WRITES_S = 1.0
"""Seconds for the last messages to be written after the drain."""

SAMPLE_INTERVAL_S = 1.0
"""Seconds between two readings of the event loop and the queues."""


class ChildProcess(Protocol):
    """What a server that is one of several processes needs of its parent; implemented by `processes/child.py`."""

    @property
    def early(self) -> bool:
        """Whether it listens before its bundles are warm."""

    async def wait_for_go(self, bundles: list[str], lost: Callable[[], None]) -> None:
        """Report that all bundles are warm, and wait until the parent says to serve.

        Args:
            bundles: their names.
            lost: called when the parent is gone.
        """


async def serve(config: CloudConfig, child: ChildProcess | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. A signal before it serves cancels the start.

    Args:
        config: what is served, and how.
        child: if this is one of several processes. Its parent then serves the metrics and announces that all is ready.

    Raises:
        ConfigError: an address is taken, there is no such device, or no memory for the slots.
        BundleError: a bundle cannot be served.
        EngineFailed: a bundle cannot be stepped any more; all streams have ended.
    """
    remove_ready_file(config.ready_file)
    config.security.check(config.listen)
    sys.setswitchinterval(SWITCH_INTERVAL)
    metrics = Metrics(CLOUD_METRICS)
    metrics.registry.register(config.security.expiry())
    servicer = CoInferenceServicer(config, metrics)
    manager = BundleManager(config, servicer, metrics)
    health = HealthServicer((SERVICE,))
    server = _make_server(config, manager.longest_message, servicer, health)
    stop_signals = _signals(signal.SIGTERM) if child else _signals(signal.SIGTERM, signal.SIGINT)
    reload_signals = _signals(signal.SIGHUP)
    background = [asyncio.create_task(_sample_gauges(metrics, manager)), asyncio.create_task(_look_after(servicer))]
    try:
        if child is not None and not child.early:
            await _unless_stopped(stop_signals, manager.load_all())
        addresses = {"listen": bind(server, config.listen, config.security, "--listen")}
        servicer.guard.start(addresses["listen"][1])
        if config.health is not None:
            addresses["health"] = await health.listen(config.health, shared=config.processes > 1)
        page = 0 if child else metrics.serve(*config.metrics, config.metrics_security)
        addresses["metrics"] = (config.metrics[0], page)
        await server.start()
        if child is None or child.early:
            await _unless_stopped(stop_signals, manager.load_all())
        names = [loaded.name for loaded in manager.bundles]
        if child is not None:
            await _unless_stopped(stop_signals, child.wait_for_go(names, lambda: stop_signals.put_nowait(None)))
        manager.start_serving()
        health.serving = True
        if child is None:
            announce_ready(config.ready_file, addresses, names)
        background.append(asyncio.create_task(_reload_on_signal(manager, reload_signals)))
        await _unless_stopped(stop_signals, manager.wait_for_failure())
    except _Stopped:
        await _drain(servicer, health, config.drain_timeout, stop_signals)
    except EngineFailed:
        await _drain(servicer, health, 0.0, stop_signals)
        raise
    finally:
        for task in background:
            task.cancel()
        await server.stop(LAST_WRITES_S)
        await health.close()
        servicer.close()
        await manager.close()
        remove_ready_file(config.ready_file)
    log.info("stopped")


def _make_server(
    config: CloudConfig, longest_message: int, servicer: CoInferenceServicer, health: HealthServicer
) -> grpc.aio.Server:
    server = grpc.aio.server(options=server_options(config, longest_message))
    server.add_generic_rpc_handlers((servicer.handler(), health.handler()))
    if config.reflection_enabled:
        reflection.enable_server_reflection((SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
    return server


async def _sample_gauges(metrics: Metrics, manager: BundleManager) -> None:
    """Read once a second how late the event loop is, its tasks, and the queues. Runs until it is cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SAMPLE_INTERVAL_S
        await asyncio.sleep(SAMPLE_INTERVAL_S)
        metrics.observe("neucodex_cloud_loop_lag_seconds", max(loop.time() - due, 0.0))
        metrics.set("neucodex_cloud_tasks", len(asyncio.all_tasks()))
        for loaded in manager.bundles:
            metrics.set("neucodex_cloud_queue_length", loaded.scheduler.waiting, bundle=loaded.name)


async def _look_after(servicer: CoInferenceServicer) -> None:
    """End streams whose token was taken back, within a second or so. Runs until it is cancelled."""
    while True:
        await asyncio.sleep(SAMPLE_INTERVAL_S)
        servicer.end_revoked()


class _Stopped(Exception):
    """A signal to stop came."""


async def _unless_stopped(stop_signals: asyncio.Queue[None], work: Coroutine[Any, Any, T]) -> T:
    """Run `work` and return its result.

    Raises:
        _Stopped: a signal to stop came before it was done; it was cancelled.
    """
    working, stop = asyncio.create_task(work), asyncio.create_task(stop_signals.get())
    await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        raise _Stopped
    stop.cancel()
    return working.result()


def _signals(*numbers: signal.Signals) -> asyncio.Queue[None]:
    """A queue with an entry for each time that one of these signals came, also while they were blocked."""
    received: asyncio.Queue[None] = asyncio.Queue()
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, received.put_nowait, None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return received


async def _reload_on_signal(manager: BundleManager, reload_signals: asyncio.Queue[None]) -> None:
    """Reload the bundles at each signal. Runs until it is cancelled."""
    while True:
        await reload_signals.get()
        try:
            await manager.reload()
        except Exception:
            log.exception("bundles are not reloaded")


async def _drain(
    servicer: CoInferenceServicer, health: HealthServicer, timeout: float, stop_signals: asyncio.Queue[None]
) -> None:
    """Drain for at most `timeout` seconds; another signal to stop ends the drain at once."""
    log.info("draining for at most %g s", timeout)
    health.serving = False
    try:
        drained = await _unless_stopped(stop_signals, servicer.drain(timeout))
    except _Stopped:
        log.warning("told to stop twice: not waiting for open samples")
    else:
        if not drained:
            log.warning("drain timeout: some samples were still open; their edges start them again elsewhere")
