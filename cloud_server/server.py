"""A cloud process from start to end: bind, load, warm up, serve, drain, stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import torch
from grpc_reflection.v1alpha import reflection

from cloud_server.config import CloudConfig
from cloud_server.engine import Engine
from cloud_server.health import SERVICE as HEALTH_SERVICE
from cloud_server.health import Health
from cloud_server.heartbeat import beat
from cloud_server.lane import Lane, lane_names, load_lane
from cloud_server.memory import keep_freed_memory
from cloud_server.service import SERVICE, CoInference
from cloud_server.tail import torch_device
from cloud_server.work import Outcome
from shared.bundle import Bundle
from shared.command_line import join_address
from shared.errors import ConfigError
from shared.metrics import CLOUD_METRICS, Metrics
from shared.spike_codec import SpikeCodec

log = logging.getLogger(__name__)

MESSAGE_SLACK = 1024
"""Bytes that a message may have beyond its frame: its own fields, and the requests of health checks and reflection."""

MOST_METADATA = 8 * 1024
"""Bytes of headers that a stream may begin with: a token and what proxies add."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread in Python code makes room for another that asks. A tail's step asks after every
operation, for it computes without the GIL: with Python's 5 ms a burst of messages could hold it up that long."""

LAST_WRITES = 1.0
"""Seconds for the last messages to leave after the drain."""


async def serve(config: CloudConfig) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return.

    Raises:
        ConfigError: an address is taken, there is no such device, or no memory for the slots.
        BundleError: a bundle cannot be served.
    """
    if config.ready_file is not None:
        config.ready_file.unlink(missing_ok=True)  # of a process before this one
    config.security.check(config.listen)
    sys.setswitchinterval(SWITCH_INTERVAL)
    keep_freed_memory()
    device = torch_device(config.device)
    bundles = [Bundle.open(path) for path in config.bundles]
    names = lane_names(bundles)
    metrics = Metrics(CLOUD_METRICS, {"bundle": tuple(names)})
    service = CoInference(config, metrics)
    health = Health((SERVICE,))
    server = grpc.aio.server(options=server_options(config, bundles))
    server.add_generic_rpc_handlers((service.handler(),))
    health.add_to(server)
    if config.shows_itself:
        reflection.enable_server_reflection((SERVICE, HEALTH_SERVICE, reflection.SERVICE_NAME), server)
    address = _bind(server, config)
    metrics_address = (config.metrics[0], metrics.serve(*config.metrics))
    await health.set(serving=False)
    stopped = _stop_signals()
    await server.start()
    heartbeat = asyncio.create_task(beat(metrics))
    engine: Engine | None = None
    try:
        lanes = await asyncio.to_thread(_load, bundles, names, config, device)
        engine = await _warm_engine(lanes, service, metrics, config)
        service.serve(lanes, engine)
        await health.set(serving=True)
        _announce(config, lanes, address, metrics_address)
        await stopped.get()
        log.info("draining for at most %g s", config.drain_timeout)
        await health.set(serving=False)
        await _drain(service, config.drain_timeout, stopped)
    finally:
        heartbeat.cancel()
        await server.stop(LAST_WRITES)
        service.close()
        if engine is not None:
            await asyncio.to_thread(engine.stop)
        if config.ready_file is not None:
            config.ready_file.unlink(missing_ok=True)
    log.info("stopped")


def server_options(config: CloudConfig, bundles: Sequence[Bundle]) -> list[tuple[str, int]]:
    """gRPC's settings: message size, keepalive, and one owner for the port."""
    largest = max(SpikeCodec(bundle.manifest.frame_shape).max_bytes for bundle in bundles)
    return [
        ("grpc.so_reuseport", 0),  # or a second server on the same port would start and take half of the streams
        ("grpc.max_receive_message_length", config.max_message_bytes or largest + MESSAGE_SLACK),
        # A peer that vanished without a word gives its slots back.
        ("grpc.keepalive_time_ms", round(config.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive * 500)),
        ("grpc.http2.ping_timeout_ms", round(config.keepalive * 500)),  # or a lost answer is noticed after a minute
        ("grpc.keepalive_permit_without_calls", 1),
        # Edges may ping to see whether the link lives; by default a third ping within five minutes is one too many.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.max_metadata_size", MOST_METADATA),
        ("grpc.http2.bdp_probe", 0),  # streams are sparse: probing for bandwidth would add pings to small frames
    ]


def _bind(server: grpc.aio.Server, config: CloudConfig) -> tuple[str, int]:
    asked = join_address(config.listen)
    try:
        port = config.security.bind(server, asked)
    except RuntimeError:
        port = 0
    if port == 0:
        raise ConfigError(
            f"cannot listen on {asked}: the port is taken or the host is not this machine's; see --listen"
        )
    return config.listen[0], port


def _load(bundles: Sequence[Bundle], names: Sequence[str], config: CloudConfig, device: torch.device) -> list[Lane]:
    return [load_lane(bundle, name, config, device) for bundle, name in zip(bundles, names, strict=True)]


async def _warm_engine(lanes: Sequence[Lane], service: CoInference, metrics: Metrics, config: CloudConfig) -> Engine:
    """An engine that has run every batch size of every lane."""
    loop = asyncio.get_running_loop()
    warm: asyncio.Future[None] = loop.create_future()

    def warmed_up(error: Exception | None) -> None:
        if error is None:
            loop.call_soon_threadsafe(warm.set_result, None)
        else:
            loop.call_soon_threadsafe(warm.set_exception, error)

    def deliver(outcomes: Sequence[Outcome]) -> None:
        loop.call_soon_threadsafe(service.settle, outcomes)

    for lane in lanes:
        metrics.set("neucodex_cloud_slots", lane.slots.count, bundle=lane.name)
    threads = config.threads or usable_cores()
    engine = Engine(lanes, deliver=deliver, warmed_up=warmed_up, metrics=metrics, threads=threads)
    engine.start()
    try:
        await warm
    except RuntimeError as error:
        raise ConfigError(
            f"the first steps failed: lower --max-batch or --slots if memory is short ({error})"
        ) from error
    return engine


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has, where a container or taskset says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _announce(config: CloudConfig, lanes: Sequence[Lane], listen: tuple[str, int], metrics: tuple[str, int]) -> None:
    """Say that requests are served, and where: to people, to log readers, and to who waits for the ready file."""
    where = {"listen": join_address(listen), "metrics": join_address(metrics), "pid": os.getpid()}
    for lane in lanes:
        megabytes = lane.slots.count * lane.slots.bytes_per_row / 1e6
        log.info(
            "bundle %s, fingerprint %s: %d slots, %.1f MB of state when all are used",
            lane.name, lane.fingerprint.hex()[:12], lane.slots.count, megabytes,
        )  # fmt: skip
    log.info(
        "ready: listening on %s, metrics on http://%s/metrics", where["listen"], where["metrics"],
        extra={"event": "ready", **where, "bundles": [lane.name for lane in lanes]},
    )  # fmt: skip
    if config.ready_file is not None:
        _write_whole(config.ready_file, json.dumps(where) + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds all of it or nothing.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"--ready-file {path}: cannot be written ({error.strerror})") from None


def _stop_signals() -> asyncio.Queue[None]:
    """Filled by SIGTERM and SIGINT, once each time."""
    asked: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.put_nowait, None)
    return asked


async def _drain(service: CoInference, timeout: float, stopped: asyncio.Queue[None]) -> None:
    """Drain; a second signal is an order to hurry."""
    drained = asyncio.create_task(service.drain(timeout))
    hurried = asyncio.create_task(stopped.get())
    await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not drained.done():
        log.warning("told to stop twice: not waiting for open samples")
        drained.cancel()
    elif not drained.result():
        log.warning("drain timeout: some samples were still open; their edges start them anew elsewhere")
