"""What this process serves, and how that changes while it runs: bundles are loaded, warmed, offered, and retired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import NoReturn

from cloud_server.catalogue import longest_message, read_bundles
from cloud_server.config import CloudConfig
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import Lane, lane_key, lane_names, load_lane
from cloud_server.engine.work import Outcome
from cloud_server.rpc.servicer import CoInference
from shared.bundle import Bundle
from shared.errors import ConfigError, EngineFailed, NeucodexError
from shared.metrics import Metrics

log = logging.getLogger(__name__)


class Served:
    """The lanes of a process and the engine that runs them. Everything here runs in the event loop's thread.

    Raises:
        ConfigError: there is no such device, or no bundle.
        BundleError: a bundle cannot be read.
    """

    def __init__(self, config: CloudConfig, service: CoInference, metrics: Metrics) -> None:
        self._config = config
        self._service = service
        self._metrics = metrics
        self._first = read_bundles(config)
        self.longest_message = config.max_message_bytes or longest_message(self._first)
        self.lanes: list[Lane] = []
        """Those offered; the ones retired are not among them, though their streams may still finish."""
        self._retiring: dict[asyncio.Task[None], Lane] = {}
        self._engine: Engine | None = None
        self._failure: asyncio.Queue[EngineFailed] = asyncio.Queue()

    async def begin(self) -> None:
        """Load and warm all bundles; nothing is offered yet.

        Raises:
            BundleError: a bundle cannot be served.
            ConfigError: there is no memory for its slots, or no step succeeds.
        """
        loop = asyncio.get_running_loop()

        def deliver(outcomes: Sequence[Outcome]) -> None:
            loop.call_soon_threadsafe(self._service.settle, outcomes)

        def broken(lane: Lane, error: Exception) -> None:
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            failure = EngineFailed(f"bundle {lane.name}: no step succeeds any more ({why}): start the process anew")
            loop.call_soon_threadsafe(self._failure.put_nowait, failure)

        one = self._config.device == "cuda" or self._config.batch_invariant
        threads = 1 if one else self._config.threads
        self._engine = Engine(deliver=deliver, broken=broken, metrics=self._metrics, threads=threads)
        self._engine.start()
        self.lanes = await self._warm(self._engine, self._first)

    def offer(self) -> None:
        """Let streams in."""
        assert self._engine is not None, "begin comes first"
        self._service.serve(self._engine)
        for lane in self.lanes:
            self._service.offer(lane)

    async def failure(self) -> NoReturn:
        """Wait until the engine fails for good.

        Raises:
            EngineFailed: it did.
        """
        raise await self._failure.get()

    async def reload(self) -> None:
        """Look for bundles again: new ones are warmed and offered, those that are gone are retired.

        If one of them cannot be read or loaded, the log says so and nothing changes.
        """
        assert self._engine is not None, "begin comes first"
        try:
            found = await asyncio.to_thread(read_bundles, self._config)
            if longest_message(found) > self.longest_message:
                raise ConfigError(
                    "a bundle's frames are longer than the messages read here: restart, or raise --max-message-bytes"
                )
            served = {lane.key for lane in self.lanes}
            new = await self._warm(self._engine, [bundle for bundle in found if lane_key(bundle) not in served])
        except NeucodexError as error:
            log.error("bundles are not reloaded, what was served is served on: %s", error)
            return
        wanted = {lane_key(bundle) for bundle in found}
        gone = [lane for lane in self.lanes if lane.key not in wanted]
        self.lanes = [lane for lane in self.lanes if lane.key in wanted] + new
        for lane in new:
            self._service.offer(lane)
        for lane in gone:
            self._retiring[asyncio.create_task(self._retire(lane))] = lane
        names = ", ".join(lane.name for lane in self.lanes)
        log.info("bundles reloaded: %d new, %d retired, now %s", len(new), len(gone), names)

    async def end(self) -> None:
        """Stop the engine."""
        for task in self._retiring:
            task.cancel()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.stop)

    async def _warm(self, engine: Engine, bundles: Sequence[Bundle]) -> list[Lane]:
        """Lanes of all of these bundles, or of none."""
        held = [lane.name for lane in (*self.lanes, *self._retiring.values())]
        lanes: list[Lane] = []
        try:
            for bundle, name in zip(bundles, lane_names(bundles, held), strict=True):
                lanes.append(await self._warm_one(engine, bundle, name))
        except Exception:
            for lane in lanes:
                self._remove(engine, lane)
            raise
        return lanes

    async def _warm_one(self, engine: Engine, bundle: Bundle, name: str) -> Lane:
        lane = await asyncio.to_thread(load_lane, bundle, name, self._config)
        try:
            await _warm_up(engine, lane)
        except RuntimeError as error:
            raise ConfigError(
                f"the first steps failed: lower --max-batch or --slots if memory is short ({error})"
            ) from error
        self._metrics.know("bundle", name)
        self._metrics.set("neucodex_cloud_slots", lane.slots.count, bundle=name)
        log.info(
            "bundle %s, fingerprint %s, execution %s: %d slots, %.1f MB of state when all are used",
            name, lane.fingerprint.hex()[:12], lane.execution,
            lane.slots.count, lane.slots.count * lane.slots.bytes_per_row / 1e6,
        )  # fmt: skip
        return lane

    def _remove(self, engine: Engine, lane: Lane) -> None:
        engine.remove(lane)
        self._metrics.set("neucodex_cloud_slots", 0, bundle=lane.name)

    async def _retire(self, lane: Lane) -> None:
        assert self._engine is not None
        await self._service.retire(lane)
        self._remove(self._engine, lane)
        log.info("bundle %s is retired: its last stream has ended", lane.name)
        del self._retiring[asyncio.current_task()]  # type: ignore[arg-type]


async def _warm_up(engine: Engine, lane: Lane) -> None:
    """Wait until the engine has run every batch size of a lane. Raises what it raised."""
    loop = asyncio.get_running_loop()
    warm: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if warm.done():  # nobody waits any more
            return
        if error is None:
            warm.set_result(None)
        else:
            warm.set_exception(error)

    def warmed_up(error: Exception | None) -> None:
        loop.call_soon_threadsafe(settle, error)

    engine.add(lane, warmed_up)
    await warm
