"""Sends recordings as a camera's programs do: the forms of aestream and faery, over UDP, as fast as recorded or faster.

python -m benchmarks.events.sender RECORDING HOST:PORT [--form FORM] [--speed X]
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import click
import numpy as np

from shared.command_line import Address, HostPort
from shared.datasets.event_files import read_events
from shared.datasets.event_type import Events

SentForm = Literal["spif4", "spif8", "t32_x16_y15_on1", "t64_x16_y16_on8"]

EVENTS_A_DATAGRAM = {"spif4": 128, "spif8": 32, "t32_x16_y15_on1": 100, "t64_x16_y16_on8": 100}
"""What aestream and faery put into one by default."""

SLICE_S = 0.002


def encode(events: Events, form: SentForm) -> bytes:
    """Events [n] as bytes of a form; see `edge_client/inputs/live_events/forms.py`."""
    x, y, polarity, t = (events[name].astype(np.int64) for name in ("x", "y", "polarity", "t"))
    if form == "t32_x16_y15_on1":
        words = np.empty(len(t), [("t", "<u4"), ("x", "<u2"), ("y_on", "<u2")])
        words["t"], words["x"], words["y_on"] = t & 0xFFFFFFFF, x, y << 1 | polarity
        return words.tobytes()
    if form == "t64_x16_y16_on8":
        wide = np.empty(len(t), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
        wide["t"], wide["x"], wide["y"], wide["on"] = t, x, y, polarity
        return wide.tobytes()
    word = x << 16 | polarity << 15 | y
    if form == "spif4":
        return (word | 1 << 31).astype("<u4").tobytes()
    return np.stack([word, t & 0xFFFFFFFF], axis=1).astype("<u4").tobytes()


def datagrams(events: Events, form: SentForm) -> Iterator[bytes]:
    """Events [n] in as many datagrams as are needed."""
    step = EVENTS_A_DATAGRAM[form]
    for low in range(0, len(events), step):
        yield encode(events[low : low + step], form)


def send(events: Events, address: Address, form: SentForm, *, speed: float | None = None, loss: float = 0.0) -> int:
    """Send events [n]; the datagrams that were not sent, as if lost, are returned as a number.

    Args:
        events: in order of time.
        address: of the receiver.
        form: of the bytes.
        speed: times as fast as recorded; None sends without a pause.
        loss: share of datagrams that are left out, 0..1, by a fixed seed.
    """
    random, lost = np.random.default_rng(0), 0
    t = events["t"] - (events["t"][0] if len(events) else 0)
    edges = (
        [0, len(events)]
        if speed is None
        else [*np.searchsorted(t, np.arange(0, int(t[-1]) + 1, SLICE_S * speed * 1e6)).tolist(), len(events)]
    )
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for number, (low, high) in enumerate(pairwise(edges)):
            if speed is not None:
                time.sleep(max(0.0, began + (number + 1) * SLICE_S - time.monotonic()))
            for data in datagrams(events[low:high], form):
                if loss and random.random() < loss:
                    lost += 1
                else:
                    out.sendto(data, address)
    return lost


@click.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.argument("address", type=HostPort())
@click.option("--form", type=click.Choice(list(EVENTS_A_DATAGRAM)), default="spif8")
@click.option("--speed", type=float, default=1.0, help="Times as fast as recorded.")
@click.option("--loss", type=float, default=0.0, help="Share of datagrams that are left out.")
def main(recording: Path, address: Address, form: SentForm, speed: float, loss: float) -> None:
    """Send a recording of an event camera over UDP."""
    lost = send(read_events(recording), address, form, speed=speed, loss=loss)
    click.echo(f"{recording}: sent, {lost} datagrams left out")


if __name__ == "__main__":
    main()
