"""The proxy in a process of its own, so that what it does takes no time from the loop that is measured."""

from __future__ import annotations

from functools import partial

from benchmarks.links.proxy import Cut, Proxy
from benchmarks.worker import WorkerProcess


class LinkProcess(WorkerProcess[Proxy]):
    """A `Proxy` to `address` (HOST:PORT), told what to do from here. A context manager: its end ends the process.

    Args:
        address: where it leads.
        delay_s: of each byte in either direction.
    """

    def __init__(self, address: str, delay_s: float = 0.0) -> None:
        host, _, port = address.rpartition(":")
        super().__init__(partial(Proxy, host, int(port), delay_s))
        self.address = self.call(Proxy.start)

    def cut(self, how: Cut) -> None:
        """Break the link until it is mended."""
        self.call(Proxy.cut, how)

    def mend(self) -> None:
        """Let bytes flow again."""
        self.call(Proxy.mend)
