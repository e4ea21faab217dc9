"""The edge for programs: `Edge` for asyncio, and `EdgeSync`, its blocking twin. docs/api.md has examples that run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edge_client.api_arguments import EdgeArguments, takes
from edge_client.build import open_edge
from edge_client.inference.co_inference import CoInference, LocalExitReason
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.convert import RecordingConverter, converter
from edge_client.link import forks
from edge_client.link.errors import closed
from edge_client.windows import Window
from shared.bundle import Bundle
from shared.errors import ConfigError, SourceError
from shared.messages import RejectionCode

if TYPE_CHECKING:
    from edge_client.heads.base import InputArray
    from edge_client.inputs.convert import Input

T = TypeVar("T")


@dataclass(frozen=True)
class WindowVerdict:
    """The verdict on one window of a recording, and when that begins, in seconds after the first event."""

    time_s: float
    verdict: Verdict


class Edge:
    """Classifies together with a cloud; use it by `async with`. It is called with the fields of `EdgeArguments`.

    Raises:
        BundleError: the bundle is missing or damaged.
        ConfigError: an option is unknown or out of range.
    """

    @takes(EdgeArguments)
    def __init__(self, arguments: EdgeArguments) -> None:
        self._config = arguments.config
        self._bundle = Bundle.open(self._config.bundle, self._config.execution, self._config.trust)
        self._converter = converter(
            self._bundle.manifest, arguments.binning, arguments.max_pixels, arguments.most_bytes
        )
        self._numbers = itertools.count()
        self._watcher = _Watcher()
        self._network: CoInference | None = None
        self._room = asyncio.Semaphore(self._config.in_flight)
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
            RuntimeError: this process was forked from one that had opened an Edge.
        """
        forks.check()
        self._network = await self._open.enter_async_context(open_edge(self._config, self._bundle, self._watcher))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the running calls, and the stream. In a fork it does nothing: they are the parent's."""
        if forks.is_broken():
            return
        self._network = None
        calls = tuple(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await self._open.aclose()

    async def classify(self, given: Input) -> Verdict:
        """Classify one sample. Any number of calls may run at once.

        Args:
            given: a picture as uint8 array [H, W], [H, W, C] or [C, H, W], as Pillow picture or as path. For a bundle
                of events: frames of event counts [T, 2, H, W], a structured array of events (x, y, t in us, polarity),
                or the path of a recording.

        Raises:
            SourceError: it cannot be read, or does not fit the bundle.
            SampleRejected: there was no verdict within the sample's deadline.
            CloudUnavailable, CloudRefused: there is no cloud, and `on_loss` says fail; or this Edge was closed before
                there was a verdict.
            RuntimeError: it is not open, or this process was forked from one that had opened an Edge.
        """
        if isinstance(given, np.ndarray) and given.shape == self._converter.shape:
            return await self._call(lambda: self._converter.pixels(given), quick=True)
        return await self._call(lambda: self._converter.pixels(given))

    async def classify_windows(self, given: Input, window: str) -> list[WindowVerdict]:
        """Classify a recording of events window by window; `in_flight` of them are on their way at once.

        Args:
            given: the path of a recording, or a structured array of events.
            window: `count:N` or `time:MS`, and `count:N/S` or `time:MS/S` with a stride, as `--window` has it.

        Returns:
            A verdict for each window, in order of time. A recording that fills no window is one.

        Raises:
            ConfigError: it is no window, or the bundle takes pictures.
            SourceError, SampleRejected, CloudUnavailable, CloudRefused, RuntimeError: as `classify`; the first window
                that fails ends the others.
        """
        converter = self._converter
        if not isinstance(converter, RecordingConverter):
            raise ConfigError(f"bundle {self._bundle.manifest.name} takes pictures, which have no windows")
        try:
            cut = Window.parse(window)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._check_open()
        parts = await asyncio.to_thread(_in_memory, lambda: converter.windows(given, cut))
        calls = [asyncio.create_task(self._call(part.read)) for part in parts]
        try:
            verdicts = await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()
        return [WindowVerdict(part.time_s or 0.0, verdict) for part, verdict in zip(parts, verdicts, strict=True)]

    def _check_open(self) -> CoInference:
        forks.check()
        if self._network is None:
            raise RuntimeError("this Edge is not open: `async with Edge(...) as edge`")
        return self._network

    async def _call(self, read: Callable[[], InputArray], *, quick: bool = False) -> Verdict:
        """The verdict on what `read` returns, which is called in a thread unless it is `quick`."""
        call = asyncio.create_task(self._classify(read, self._check_open(), quick=quick))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            await asyncio.wait({call})
            if call.cancelled():
                raise closed()
            return call.result()
        finally:
            call.cancel()  # where this call was cancelled: the sample is given up
            del call  # else its exception would hold itself

    async def _classify(self, read: Callable[[], InputArray], network: CoInference, *, quick: bool) -> Verdict:
        number = next(self._numbers)
        async with self._room:
            # Reading and scaling take time, in a thread: samples under way do not wait for it.
            pixels = read() if quick else await asyncio.to_thread(_in_memory, read)
            return await network.classify(Sample(number, f"sample {number}", None, pixels))

    @classmethod
    @takes(EdgeArguments)
    def blocking(cls, arguments: EdgeArguments) -> EdgeSync:
        """The blocking twin; arguments and errors as those of `Edge`."""
        return EdgeSync(**vars(arguments))


class EdgeSync:
    """An `Edge` for programs without asyncio; use it by `with`. Threads may share it. It is called as `Edge` is."""

    @takes(EdgeArguments)
    def __init__(self, arguments: EdgeArguments) -> None:
        self._edge = Edge(**vars(arguments))
        self._gate = threading.Lock()
        """Held while work is handed to the loop and while the loop is taken away: no work goes to an ended loop."""
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
        forks.check()
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
        """End the calls of other threads, the stream, and the thread; as of `Edge`, not in a fork."""
        if forks.is_broken():
            return
        try:
            self._wait(lambda: self._edge.__aexit__(kind, error, trace))
        finally:
            self._end()

    def classify(self, given: Input) -> Verdict:
        """As of `Edge`."""
        return self._wait(lambda: self._edge.classify(given))

    def classify_windows(self, given: Input, window: str) -> list[WindowVerdict]:
        """As of `Edge`."""
        return self._wait(lambda: self._edge.classify_windows(given, window))

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        forks.check()  # before the lock, which another thread may have held in the parent
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


def _in_memory(read: Callable[[], T]) -> T:
    try:
        return read()
    except MemoryError:
        raise SourceError("it needs more memory than there is") from None


async def _end_tasks() -> None:
    """Cancel the tasks of this loop and wait for them: a caller must not wait for a loop that has stopped."""
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
