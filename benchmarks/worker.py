"""An object in a process of its own, its methods called from here: what it does takes no time from what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

Held = TypeVar("Held")
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

_in_worker: dict[str, Any] = {}
"""The object and its event loop; filled in the process alone."""


class WorkerProcess(Generic[Held]):
    """A process that makes one object and answers calls to it in order. A context manager: its end ends the process.

    An event loop runs in it all the time; the methods are coroutines.

    Args:
        make: called in the process. It, what is passed and what comes back are pickled.
    """

    def __init__(self, make: Callable[[], Held]) -> None:
        # A fresh interpreter: a fork would take gRPC's and torch's threads along as they are not.
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._pid = self._pool.submit(_make, make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):  # it was never made, or ended by itself
            os.kill(self._pid.result(), signal.SIGKILL)  # gRPC's threads are not to be waited for
        self._pool.shutdown()

    def begin(
        self,
        method: Callable[Concatenate[Held, Arguments], Coroutine[Any, Any, Returned]],
        *args: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Callable[[], Returned]:
        """Start `method` of the object; call what this returns to wait for its result, or for what it raised.

        Raises (when waited for):
            concurrent.futures.BrokenExecutor: the process ended by itself.
        """
        called = self._pool.submit(_call, method, args, named)

        def wait() -> Returned:
            self._pid.result()  # raises why there is no object
            result: Returned = called.result()
            return result

        return wait

    def call(
        self,
        method: Callable[Concatenate[Held, Arguments], Coroutine[Any, Any, Returned]],
        *args: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Returned:
        """`begin` and wait."""
        return self.begin(method, *args, **named)()


def _make(make: Callable[[], Any]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    _in_worker.update(loop=loop, held=make())
    return os.getpid()


def _end_with_parent() -> None:
    """A parent that is killed ends nothing itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _call(method: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(method(_in_worker["held"], *args, **named), _in_worker["loop"]).result()
