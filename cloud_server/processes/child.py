"""One of several engine processes that share a port, and its pipe to the parent process."""

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
from shared.errors import NeucodexError
from shared.logs import LOGGED, LogFormat, configure_logs, let_standard_error_fail
from shared.plain_text import plain

GO = "go"


@dataclass(frozen=True)
class Child:
    """The settings of one process. It implements `server.ChildProcess`.

    Attributes:
        config: the parent's, with the port that it reserved.
        cores: the cores that it may use.
        early: whether it listens before its bundles are warm. The first processes do; one that replaces a dead process
            listens when it can answer.
        pipe: it sends the names of its warm bundles, and receives GO when it shall serve. It ends with the parent.
        logs: format and level of the log.
    """

    config: CloudConfig
    cores: Collection[int]
    early: bool
    pipe: Connection
    logs: tuple[LogFormat, str]

    async def wait_for_go(self, bundles: list[str], lost: Callable[[], None]) -> None:
        """Report that all bundles are warm, and wait until the parent says to serve. Without a parent it never returns.

        Args:
            bundles: their names.
            lost: called when the parent is gone, now or later.
        """
        loop = asyncio.get_running_loop()
        go: asyncio.Future[None] = loop.create_future()

        def on_message() -> None:
            try:
                message = self.pipe.recv()
            except (EOFError, OSError):
                loop.remove_reader(self.pipe.fileno())
                lost()
                return
            assert message == GO
            if not go.done():  # it may have been cancelled
                go.set_result(None)

        loop.add_reader(self.pipe.fileno(), on_message)
        self.pipe.send(bundles)
        await go


def run_child(child: Child) -> None:
    """Run the process from start to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; only the parent handles it
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, child.cores)
    let_standard_error_fail()
    configure_logs(*child.logs)
    from cloud_server.server import serve  # noqa: PLC0415  torch reads the cores when it is imported

    try:
        asyncio.run(serve(child.config, child))
    except NeucodexError as error:
        click.echo(f"error: {plain(error, LOGGED)}", err=True)
        sys.exit(error.exit_code)
