"""Reads a source in its own thread, one item each time that `next` is called."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from queue import SimpleQueue

from edge_client.inputs.base import Item, Source


class ReaderThread:
    """Takes items from a source without blocking the event loop. Close it.

    The thread is a daemon: one that waits for standard input does not keep the process alive.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._asked: SimpleQueue[asyncio.Future[Item | None] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read_all, name="source", daemon=True).start()

    async def next(self) -> Item | None:
        """The next item; None after the last. One call at a time.

        Raises:
            SourceError: the source cannot go on.
        """
        answer: asyncio.Future[Item | None] = self._loop.create_future()
        self._asked.put(answer)
        return await answer

    def close(self) -> None:
        """No more items are needed."""
        self._source.close()
        self._asked.put(None)

    def _read_all(self) -> None:
        items = iter(self._source)
        while (asked := self._asked.get()) is not None:
            try:
                item, error = next(items, None), None
            except Exception as raised:
                item, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop has been closed: no call waits
                self._loop.call_soon_threadsafe(_answer, asked, item, error)
        # A generator releases its files and cameras.
        if (close := getattr(items, "close", None)) is not None:
            close()


def _answer(asked: asyncio.Future[Item | None], item: Item | None, error: Exception | None) -> None:
    if asked.done():
        return
    if error is None:
        asked.set_result(item)
    else:
        asked.set_exception(error)
