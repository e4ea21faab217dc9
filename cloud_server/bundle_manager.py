"""Loads, warms, offers and retires the bundles of this process, at start and while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from cloud_server.catalogue import longest_message, read_bundles
from cloud_server.config import CloudConfig
from cloud_server.engine.engine import Engine
from cloud_server.engine.loaded_bundle import LoadedBundle, bundle_key, bundle_names, load_bundle
from cloud_server.engine.requests import Deliver
from cloud_server.rpc.servicer import CoInferenceServicer
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError, EngineFailed, NeucodexError
from shared.metrics import Metrics
from shared.version import VERSION

log = logging.getLogger(__name__)


class BundleManager:
    """The loaded bundles of a process, and the engine that runs them. Everything runs in the event loop's thread.

    Args:
        config: of the process.
        servicer: offers the bundles to edges.
        metrics: of the process.

    Attributes:
        longest_message: bytes of the longest message that edges may send.
        bundles: the bundles that are offered. Those being retired are not among them.

    Raises:
        ConfigError: there is no bundle to serve.
        BundleError: a bundle cannot be read.
    """

    def __init__(self, config: CloudConfig, servicer: CoInferenceServicer, metrics: Metrics) -> None:
        self._config = config
        self._servicer = servicer
        self._metrics = metrics
        self._at_start = read_bundles(config)
        self.longest_message = config.max_message_bytes or longest_message(self._at_start)
        self.bundles: list[LoadedBundle] = []
        self._retiring: dict[asyncio.Task[None], LoadedBundle] = {}
        self._engine: Engine | None = None
        self._failure: asyncio.Queue[EngineFailed] = asyncio.Queue()

    async def load_all(self) -> None:
        """Start the engine, and load and warm all bundles. Nothing is offered yet.

        Raises:
            BundleError: a bundle cannot be served.
            ConfigError: there is no such device, no memory for the slots, or no step succeeds.
        """
        loop = asyncio.get_running_loop()

        def on_broken(loaded: LoadedBundle, error: Exception) -> None:
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            failure = EngineFailed(f"bundle {loaded.name}: no step succeeds any more ({why}): start the process again")
            loop.call_soon_threadsafe(self._failure.put_nowait, failure)

        deliver: Deliver = partial(loop.call_soon_threadsafe, self._servicer.handle_outcomes)  # type: ignore[arg-type]
        single_threaded = self._config.device == "cuda" or self._config.batch_invariant
        self._engine = Engine(
            deliver=deliver,
            on_broken=on_broken,
            metrics=self._metrics,
            threads=1 if single_threaded else self._config.threads,
        )
        self._engine.start()
        self.bundles = await self._load(self._engine, self._at_start)

    def start_serving(self) -> None:
        """Accept streams for the loaded bundles."""
        assert self._engine is not None, "load_all comes first"
        self._servicer.start_serving(self._engine)
        for loaded in self.bundles:
            self._servicer.offer(loaded)

    async def wait_for_failure(self) -> NoReturn:
        """Wait until the engine cannot step a bundle any more.

        Raises:
            EngineFailed: always, at that time.
        """
        raise await self._failure.get()

    async def reload(self) -> None:
        """Read the bundle folders again: load and offer new bundles, retire those that are gone.

        If one of them cannot be read or loaded, the log says so and nothing changes.
        """
        assert self._engine is not None, "load_all comes first"
        try:
            found = await asyncio.to_thread(read_bundles, self._config)
            if longest_message(found) > self.longest_message:
                raise ConfigError(
                    "a bundle's frames are longer than the messages read here: restart, or raise --max-message-bytes"
                )
            served = {loaded.key for loaded in self.bundles}
            new = await self._load(self._engine, [bundle for bundle in found if bundle_key(bundle) not in served])
        except NeucodexError as error:
            log.error("bundles are not reloaded, what was served is served on: %s", error)
            return
        wanted = {bundle_key(bundle) for bundle in found}
        gone = [loaded for loaded in self.bundles if loaded.key not in wanted]
        self.bundles = [loaded for loaded in self.bundles if loaded.key in wanted] + new
        for loaded in new:
            self._servicer.offer(loaded)
        for loaded in gone:
            self._retiring[asyncio.create_task(self._retire(loaded))] = loaded
        names = ", ".join(loaded.name for loaded in self.bundles)
        log.info("bundles reloaded: %d new, %d retired, now %s", len(new), len(gone), names)

    async def close(self) -> None:
        """Stop the engine."""
        for task in self._retiring:
            task.cancel()
        if self._engine is not None:
            await asyncio.to_thread(self._engine.stop)

    async def _load(self, engine: Engine, bundles: Sequence[Bundle]) -> list[LoadedBundle]:
        """Load and warm these bundles; if one fails, none stays loaded."""
        used_names = [loaded.name for loaded in (*self.bundles, *self._retiring.values())]
        done: list[LoadedBundle] = []
        try:
            for bundle, name in zip(bundles, bundle_names(bundles, used_names), strict=True):
                done.append(await self._load_one(engine, bundle, name))
        except Exception:
            for loaded in done:
                self._unload(engine, loaded)
            raise
        return done

    async def _load_one(self, engine: Engine, bundle: Bundle, name: str) -> LoadedBundle:
        log.info("bundle %s: loading; edges must wait until all bundles are warm", name)
        loaded = await asyncio.to_thread(load_bundle, bundle, name, self._config)
        log.info("bundle %s: warming up, batches of 1 to %d", name, loaded.scheduler.max_batch)
        try:
            await _warm_up(engine, loaded)
        except NeucodexError:
            raise
        except (RuntimeError, MemoryError) as error:
            raise ConfigError(
                f"the first steps failed: lower --max-batch or --slots if memory is short ({error})"
            ) from error
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise BundleError(f"bundle {name}: its first steps failed ({type(error).__name__}: {error})") from error
        self._metrics.declare_label_values("bundle", name)
        self._metrics.set("neucodex_cloud_slots", loaded.slots.count, bundle=name)
        self._show_build(loaded, 1)
        log.info(
            "bundle %s, fingerprint %s, execution %s: %d slots, %.1f MB of state when all are used",
            name, loaded.fingerprint.hex()[:12], loaded.execution,
            loaded.slots.count, loaded.slots.count * loaded.slots.bytes_per_row / 1e6,
        )  # fmt: skip
        return loaded

    def _unload(self, engine: Engine, loaded: LoadedBundle) -> None:
        engine.remove(loaded)
        for gauge in ("slots", "queue_length"):
            self._metrics.set(f"neucodex_cloud_{gauge}", 0, bundle=loaded.name)
        self._show_build(loaded, 0)

    def _show_build(self, loaded: LoadedBundle, runs: int) -> None:
        self._metrics.set(
            "neucodex_build_info",
            runs,
            version=VERSION,
            bundle=loaded.name,
            fingerprint=loaded.fingerprint.hex()[:12],
            execution=loaded.execution,
            runtime=loaded.runtime,
        )

    async def _retire(self, loaded: LoadedBundle) -> None:
        assert self._engine is not None
        await self._servicer.retire(loaded)
        self._unload(self._engine, loaded)
        log.info("bundle %s is retired: its last stream has ended", loaded.name)
        del self._retiring[asyncio.current_task()]  # type: ignore[arg-type]


async def _warm_up(engine: Engine, loaded: LoadedBundle) -> None:
    """Wait until the engine has stepped every batch size of a bundle. Raises what a step raised."""
    loop = asyncio.get_running_loop()
    warm: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if warm.done():  # it was cancelled
            return
        if error is None:
            warm.set_result(None)
        else:
            warm.set_exception(error)

    def warmed_up(error: Exception | None) -> None:
        loop.call_soon_threadsafe(settle, error)

    engine.add(loaded, warmed_up)
    await warm
