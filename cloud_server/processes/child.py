"""One of several engine processes behind one port, and the line to the parent that started it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection

import click

from cloud_server.config import CloudConfig
from shared.command_line import LogFormat, configure_logs
from shared.errors import NeucodexError

GO = "go"


@dataclass(frozen=True)
class Child:
    """What one process is told.

    Attributes:
        config: the parent's, with the port that it found.
        cores: which it may run on.
        early: listen before the bundles are warm, as the first of them do; one that follows a dead one listens when it
            can answer.
        line: the parent hears here, with the names of the bundles, that all is warm, and says when to serve. Its end is
            the parent's.
        logs: format and level.
    """

    config: CloudConfig
    cores: Collection[int]
    early: bool
    line: Connection
    logs: tuple[LogFormat, str]

    async def wait_for_go(self, bundles: list[str], lost: Callable[[], None]) -> None:
        """Tell the parent that all is warm, and wait until it says to serve; `lost` is called when it is gone.

        Without a parent there is nobody to say it: then this does not return.
        """
        loop = asyncio.get_running_loop()
        go: asyncio.Future[None] = loop.create_future()

        def heard() -> None:
            try:
                said = self.line.recv()
            except (EOFError, OSError):
                loop.remove_reader(self.line.fileno())
                lost()
                return
            assert said == GO
            if not go.done():  # told to stop meanwhile
                go.set_result(None)

        loop.add_reader(self.line.fileno(), heard)
        self.line.send(bundles)
        await go


def run_child(child: Child) -> None:
    """The whole life of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent says what it means
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, child.cores)
    configure_logs(*child.logs)
    from cloud_server.server import serve  # noqa: PLC0415  torch must see its cores

    try:
        asyncio.run(serve(child.config, child))
    except NeucodexError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
