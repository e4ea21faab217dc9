"""dv-processing's network stream, a process: serves a recording's events once somebody is connected, until killed.

A process of its own: the library's server does not end in one that still has a client.
"""

from __future__ import annotations

import sys
import time

import dv_processing as dv  # type: ignore[import-not-found, unused-ignore]

from shared.datasets.event_type import Events
from tests.unit.shared.datasets.made import made

FIRST_US = 1_000_000_000


def serve(port: int, events: Events, side: int) -> None:
    """Events [n] of a square camera of so many pixels, to the first who connects."""
    writer = dv.io.NetworkWriter("127.0.0.1", port, dv.io.Stream.EventStream(0, "events", "camera", (side, side)))
    while not writer.getClientCount():
        time.sleep(0.02)
    store = dv.EventStore()
    for x, y, polarity, t in events.tolist():
        store.push_back(t + FIRST_US, x, y, polarity)
    writer.writeEvents(store)
    time.sleep(3600)


if __name__ == "__main__":
    serve(int(sys.argv[1]), made(500), 34)
