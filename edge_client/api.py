"""The edge for programs: `Edge` for asyncio, and `EdgeSync`, its blocking twin. docs/api.md has examples that run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from edge_client.build import open_edge
from edge_client.config import EdgeConfig, EdgeOptions
from edge_client.inference.co_inference import CoInference, LocalExitReason
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.convert import converter
from edge_client.link import forks
from edge_client.link.errors import closed
from edge_client.link.security import LinkSecurity
from shared.binning import Binning
from shared.bundle import Bundle
from shared.command_line import existing_path, parse_address
from shared.errors import ConfigError, SourceError
from shared.messages import RejectionCode

if TYPE_CHECKING:
    from edge_client.heads.base import InputArray
    from edge_client.inputs.convert import Input

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class EdgeArguments(EdgeOptions):
    """What `Edge` is called with: a bundle, its cloud or clouds, and options by name.

    Attributes:
        bundle: the folder of the trained model that the cloud serves.
        cloud: HOST:PORT of a neucodex-cloud, or several, tried in this order.
        security: of the link; None is TLS with the system's authorities.
        in_flight: samples in flight at once; further calls of `classify` wait for their turn.
        binning: of event recordings.
        max_pixels: that a picture may have; None: what there is memory for.
        max_recording: megabytes that a recording may take in memory; None: a quarter of what there is.
    """

    bundle: str | Path
    cloud: str | Sequence[str]
    _: KW_ONLY
    security: LinkSecurity | None = None
    in_flight: int = 8
    binning: Binning = "count"
    max_pixels: int | None = None
    max_recording: int | None = None

    @property
    def most_bytes(self) -> int | None:
        """What `max_recording` comes to."""
        return None if self.max_recording is None else self.max_recording * 1_000_000

    @property
    def config(self) -> EdgeConfig:
        """The same for the edge's own parts.

        Raises:
            ConfigError: an option is out of range, or an address is none.
        """
        clouds = (self.cloud,) if isinstance(self.cloud, str) else self.cloud
        return EdgeConfig(
            existing_path(str(self.bundle)),
            tuple(map(parse_address, clouds)),
            LinkSecurity() if self.security is None else self.security,
            **{field.name: getattr(self, field.name) for field in fields(EdgeOptions)},
        )


def takes(
    arguments: Callable[P, EdgeArguments],
) -> Callable[[Callable[[S, EdgeArguments], T]], Callable[Concatenate[S, P], T]]:
    """Let a method that takes `EdgeArguments` be called with their fields: by position and name, with their types."""
    known = signature(arguments).parameters

    def decorate(method: Callable[[S, EdgeArguments], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def called(self: S, /, *args: P.args, **options: P.kwargs) -> T:
            for name in options:
                if name not in known:
                    raise ConfigError(f"there is no option {name}: known are {', '.join(sorted(known))}")
            return method(self, arguments(*args, **options))

        # For help() and editors that ask a running Python.
        itself = Parameter("self", Parameter.POSITIONAL_ONLY)
        called.__signature__ = Signature([itself, *known.values()])  # type: ignore[attr-defined]
        return called

    return decorate


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
        forks.check()
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
            call.cancel()  # where this call was cancelled: the sample is given up
            del call  # else its exception would hold itself

    async def _classify(self, given: Input, network: CoInference) -> Verdict:
        number = next(self._numbers)
        async with self._room:
            if isinstance(given, np.ndarray) and given.shape == self._converter.shape:
                pixels = self._converter.pixels(given)
            else:
                # Reading and scaling take time, in a thread: samples under way do not wait for it.
                pixels = await asyncio.to_thread(self._convert, given)
            return await network.classify(Sample(number, f"sample {number}", None, pixels))

    def _convert(self, given: Input) -> InputArray:
        try:
            return self._converter.pixels(given)
        except MemoryError:
            raise SourceError("it needs more memory than there is") from None

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
