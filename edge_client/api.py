"""The edge for programs: `Edge` for asyncio, and `EdgeSync`, its blocking twin. docs/api.md has examples that run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_client.build import open_edge
from edge_client.config import EdgeConfig
from edge_client.inference.co_inference import CoInference, LocalExitReason
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.convert import converter
from edge_client.link.errors import closed
from edge_client.link.security import LinkSecurity
from shared.bundle import Bundle
from shared.command_line import existing_path, parse_address
from shared.errors import ConfigError
from shared.messages import RejectionCode

if TYPE_CHECKING:
    from edge_client.inputs.convert import Input
    from shared.datasets.base import Binning

IN_FLIGHT = 8
OPTIONS = frozenset(field.name for field in fields(EdgeConfig)) - {"bundle", "clouds", "security", "in_flight"}

T = TypeVar("T")


class Edge:
    """Classifies together with a cloud; use it by `async with`.

    Args:
        bundle: the folder of the trained model that the cloud serves.
        cloud: HOST:PORT of a neucodex-cloud, or several, tried in this order.
        security: of the link; TLS with the system's authorities if not given.
        in_flight: samples on their way at once; further calls of `classify` wait for their turn.
        binning: of event recordings, into frames of equal event count or of equal time.
        options: any other field of `edge_client.config.EdgeConfig`, such as threshold, lookahead, on_loss.

    Raises:
        BundleError: the bundle is missing or damaged.
        ConfigError: an option is unknown or out of range.
    """

    def __init__(
        self,
        bundle: str | Path,
        cloud: str | Sequence[str],
        *,
        security: LinkSecurity | None = None,
        in_flight: int = IN_FLIGHT,
        binning: Binning = "count",
        **options: Any,
    ) -> None:
        for name in options:
            if name not in OPTIONS:
                raise ConfigError(f"there is no option {name}: known are {', '.join(sorted(OPTIONS))}")
        clouds = (cloud,) if isinstance(cloud, str) else tuple(cloud)
        self._config = EdgeConfig(
            existing_path(str(bundle)),
            tuple(map(parse_address, clouds)),
            security=LinkSecurity() if security is None else security,
            in_flight=in_flight,
            **options,
        )
        self._bundle = Bundle.open(self._config.bundle, self._config.execution)
        self._config.exit_policy(self._bundle.settings.exit_policy)
        self._converter = converter(self._bundle.manifest, binning)
        self._numbers = itertools.count()
        self._watcher = _Watcher()
        self._network: CoInference | None = None
        self._room = asyncio.Semaphore(in_flight)
        self._open = contextlib.AsyncExitStack()
        self._calls: set[asyncio.Task[Verdict]] = set()

    @property
    def class_names(self) -> tuple[str, ...]:
        """`class_names[verdict.prediction]` is the name of a verdict's class."""
        return self._bundle.manifest.class_names

    @property
    def connected(self) -> bool:
        """Whether a stream to a cloud is open at this moment."""
        return self._watcher.connected

    async def __aenter__(self) -> Edge:
        """Connect, and make the head ready.

        Raises:
            BundleError, ConfigError, CloudUnavailable, CloudRefused: as `edge_client.build.open_edge`.
        """
        self._network = await self._open.enter_async_context(open_edge(self._config, self._bundle, self._watcher))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the calls that are under way, and the stream."""
        self._network = None
        calls = tuple(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._open.aclose()

    async def classify(self, given: Input) -> Verdict:
        """One sample to its verdict. Any number of calls may be under way at once.

        Args:
            given: a picture as uint8 array [H, W], [H, W, C] or [C, H, W], as Pillow picture or as path; for a bundle
                of events its frames [T, 2, H, W], a structured array of events (x, y, t in us, polarity), or the path
                of a recording.

        Raises:
            SourceError: it cannot be read, or does not fit the bundle.
            SampleRejected: there was no verdict within the sample's deadline.
            CloudUnavailable, CloudRefused: there is no cloud, and `on_loss` says fail; or this Edge was closed before
                there was a verdict.
            RuntimeError: it is not open.
        """
        if self._network is None:
            raise RuntimeError("this Edge is not open: `async with Edge(...) as edge`")
        call = asyncio.create_task(self._classify(given, self._network))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({call})
            if call.cancelled():
                raise closed()
            return call.result()
        finally:
            call.cancel()  # whoever called was: the sample is given up
            del call  # what it raised would hold itself

    async def _classify(self, given: Input, network: CoInference) -> Verdict:
        number = next(self._numbers)
        async with self._room:
            if isinstance(given, np.ndarray) and given.shape == self._converter.shape:
                pixels = self._converter.pixels(given)
            else:
                # To read and to scale takes its time: not from the samples that are under way.
                pixels = await asyncio.to_thread(self._converter.pixels, given)
            return await network.classify(Sample(number, f"sample {number}", None, pixels))

    @classmethod
    def blocking(cls, bundle: str | Path, cloud: str | Sequence[str], **options: Any) -> EdgeSync:
        """The blocking twin; arguments and errors as those of `Edge`."""
        return EdgeSync(bundle, cloud, **options)


class EdgeSync:
    """An `Edge` for programs without asyncio; use it by `with`. Threads may share it. Arguments as for `Edge`."""

    def __init__(self, bundle: str | Path, cloud: str | Sequence[str], **options: Any) -> None:
        self._edge = Edge(bundle, cloud, **options)
        self._gate = threading.Lock()
        """Held while work is handed to the loop, or the loop is taken away: none is handed to a loop that has ended."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """As of `Edge`."""
        return self._edge.class_names

    @property
    def connected(self) -> bool:
        """As of `Edge`."""
        return self._edge.connected

    def __enter__(self) -> EdgeSync:
        """As of `Edge`, in a thread with a loop of its own."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="edge", daemon=True)
        self._thread.start()
        try:
            self._wait(self._edge.__aenter__)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the calls of other threads, the stream, and the thread."""
        try:
            self._wait(lambda: self._edge.__aexit__(kind, error, trace))
        finally:
            self._end()

    def classify(self, given: Input) -> Verdict:
        """As of `Edge`."""
        return self._wait(lambda: self._edge.classify(given))

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._gate:
            if self._loop is None:
                raise RuntimeError("this edge is not open: `with Edge.blocking(...) as edge`")
            future: Future[T] = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C while waiting: the sample is given up, too
            raise

    def _end(self) -> None:
        with self._gate:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        assert loop is not None
        assert thread is not None
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_tasks() -> None:
    """Cancel what still runs in this loop, and wait for it: nobody waits for ever for what a stopped loop owes."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()


class _Watcher:
    """The `Observer` of an Edge."""

    def __init__(self) -> None:
        self.connected = False

    def rejected(self, code: RejectionCode) -> None:
        """Tried again, or raised by `classify`."""

    def local_exit_used(self, reason: LocalExitReason) -> None:
        """The verdict says so itself."""

    def link_changed(self, connected: bool) -> None:
        self.connected = connected
