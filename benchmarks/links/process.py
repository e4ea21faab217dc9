"""The proxy in a process of its own, so that what it does takes no time from the loop that is measured."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection
from types import TracebackType

from benchmarks.links.proxy import Cut, LinkBytes, Proxy

END_S = 10.0


class LinkProcess:
    """A `Proxy` to `address` (HOST:PORT), told what to do from here. A context manager: its end ends the process."""

    def __init__(
        self,
        address: str,
        delay_s: float = 0.0,
        up_bytes_s: float | None = None,
        down_bytes_s: float | None = None,
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(there, address, delay_s, up_bytes_s, down_bytes_s), daemon=True
        )
        self._process.start()
        there.close()
        self.address: str = self._here.recv()

    def cut(self, how: Cut) -> None:
        """Break the link until it is mended."""
        self._ask(how)

    def mend(self) -> None:
        """Let bytes flow again."""
        self._ask("mend")

    def counted(self) -> LinkBytes:
        """Bytes that went through so far."""
        return self._ask("count")

    def close(self) -> None:
        """End it."""
        self._here.close()
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> LinkProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, what: str) -> LinkBytes:
        self._here.send(what)
        answer = self._here.recv()
        assert isinstance(answer, LinkBytes)
        return answer


def _serve(
    pipe: Connection, address: str, delay_s: float, up_bytes_s: float | None, down_bytes_s: float | None
) -> None:
    # Ctrl-C is for the process that measures; the end of its pipe ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_run(pipe, address, delay_s, up_bytes_s, down_bytes_s))


async def _run(
    pipe: Connection, address: str, delay_s: float, up_bytes_s: float | None, down_bytes_s: float | None
) -> None:
    host, _, port = address.rpartition(":")
    proxy = Proxy(host, int(port), delay_s, up_bytes_s, down_bytes_s)
    pipe.send(await proxy.start())
    over = asyncio.Event()

    def told() -> None:
        try:
            what = pipe.recv()
        except EOFError:
            over.set()
            return
        if what == "mend":
            proxy.mend()
        elif what != "count":
            proxy.cut(what)
        pipe.send(proxy.counted)

    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), told)
    await over.wait()
    loop.remove_reader(pipe.fileno())
    await proxy.close()
