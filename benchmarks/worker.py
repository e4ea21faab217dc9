"""An object in a process of its own, its methods called from here: what it does takes no time from what is measured."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

Held = TypeVar("Held")
Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

END_S = 5.0
"""Seconds between telling a worker to end and ending it."""


class WorkerProcess(Generic[Held]):
    """A process that makes one object and answers calls to it in order. A context manager: its end ends the process.

    An event loop runs in it all the time; the methods are coroutines.

    Args:
        make: called in the process, in its loop. It, what is passed and what comes back are pickled.
    """

    def __init__(self, make: Callable[[], Held]) -> None:
        # A fresh interpreter: a fork would take gRPC's and torch's threads along as they are not.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_answer_calls, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()  # so that the process's death is seen as the pipe's end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def begin(
        self,
        method: Callable[Concatenate[Held, Arguments], Coroutine[Any, Any, Returned]],
        *args: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Callable[[], Returned]:
        """Start `method` of the object; call what this returns to wait for its result. One at a time.

        Raises (when waited for):
            RuntimeError: it raised; the message holds its traceback. Or the process ended.
        """
        self._connection.send((method, args, named))
        return self._wait

    def call(
        self,
        method: Callable[Concatenate[Held, Arguments], Coroutine[Any, Any, Returned]],
        *args: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Returned:
        """`begin` and wait."""
        return self.begin(method, *args, **named)()

    def _wait(self) -> Any:
        try:
            good, value = self._connection.recv()
        except EOFError:
            self._process.join(END_S)
            raise RuntimeError(f"a benchmark's process ended by itself, exit code {self._process.exitcode}") from None
        if not good:
            raise RuntimeError(f"in a benchmark's process:\n{value}")
        return value


def _answer_calls(connection: Connection, make: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end closes the pipe
    asyncio.run(_answer_in_loop(connection, make))


async def _answer_in_loop(connection: Connection, make: Callable[[], Any]) -> None:
    held, broken = None, ""
    try:
        held = make()
    except Exception:
        broken = traceback.format_exc()
    while True:
        try:
            method, args, named = await asyncio.to_thread(connection.recv)
            try:
                reply = (False, broken) if broken else (True, await method(held, *args, **named))
            except Exception:
                reply = (False, traceback.format_exc())
            connection.send(reply)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            os._exit(0)  # nobody asks any more; gRPC's threads are not to be waited for
