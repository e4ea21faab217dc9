"""The proxy in a process of its own, so that what it does takes no time from the loop that is measured."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.links.proxy import CutKind, DelayProxy
from benchmarks.worker import WorkerProcess

ANSWER_S = 30.0


class LinkProcess:
    """A `DelayProxy` to `address` (HOST:PORT), told what to do from here. A context manager: its end ends the process.

    Args:
        address: where it leads.
        delay_s: of each byte in either direction.
    """

    def __init__(self, address: str, delay_s: float = 0.0) -> None:
        self._worker = WorkerProcess(partial(_ProxyThread, address, delay_s))
        self.address = self._worker.call(_ProxyThread.start)

    def cut(self, how: CutKind) -> None:
        """Break the link until it is mended."""
        self._worker.call(_ProxyThread.cut, how)

    def mend(self) -> None:
        """Let bytes flow again."""
        self._worker.call(_ProxyThread.mend)

    def __enter__(self) -> LinkProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self._worker.__exit__(*error)


class _ProxyThread:
    """A proxy whose event loop runs in a thread, as a `WorkerProcess` answers calls in its main one."""

    def __init__(self, address: str, delay_s: float) -> None:
        host, _, port = address.rpartition(":")
        self._proxy = DelayProxy(host, int(port), delay_s)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def start(self) -> str:
        address: str = asyncio.run_coroutine_threadsafe(self._proxy.start(), self._loop).result(ANSWER_S)
        return address

    def cut(self, how: CutKind) -> None:
        self._in_loop(lambda: self._proxy.cut(how))

    def mend(self) -> None:
        self._in_loop(self._proxy.mend)

    def _in_loop(self, do: Callable[[], Any]) -> None:
        async def done() -> None:
            do()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(ANSWER_S)
