"""The forms in which live events are sent as bytes, little-endian, without a header.

`benchmarks/events/sender.py` writes them.

    spif, 4 bytes     the word 1 x15 p y15: no time. SpiNNaker's interface board, aestream.
    spif, 8 bytes     the word 0 x15 p y15, then 32 bits of time in us. aestream with --include-timestamp.
    t32_x16_y15_on1   32 bits of time in us, x16, then the word y15 p. faery.
    t64_x16_y16_on8   64 bits of time in us, x16, y16, a byte for the polarity: 13 bytes. faery's own choice.

No form has a sequence number or a checksum: events that the network lost leave no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from edge_client.event_options import EventForm
from edge_client.inputs.live_events.columns import EventColumns

WORD = np.dtype("<u4")
T32 = np.dtype([("t", "<u4"), ("x", "<u2"), ("y_on", "<u2")])
T64 = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])

TIME_BITS = {"spif": 32, "t32_x16_y15_on1": 32, "t64_x16_y16_on8": 64}
"""Of the sender's counter."""

UNTIMED = 0x80
"""The bit of a word's highest byte that says: no time follows."""

Form = tuple[EventForm, int]
"""A form, and the bytes of an event in it."""


def form_of(form: EventForm, data: bytes) -> Form | None:
    """The form of a datagram, told from its first event; None where it holds no whole number of events."""
    if form == "spif":
        size = 8 if len(data) >= WORD.itemsize and not data[3] & UNTIMED else 4
    else:
        size = (T32 if form == "t32_x16_y15_on1" else T64).itemsize
    return (form, size) if data and len(data) % size == 0 else None


def decode(form: Form, data: bytes) -> EventColumns | None:
    """The events of whole datagrams of one form; None where a word contradicts the form.

    Args:
        form: of all of them.
        data: a whole number of events.
    """
    name, size = form
    if name == "spif":
        words = np.frombuffer(data, WORD)
        first = words[:: size // WORD.itemsize]
        untimed = first >> 31
        if not (untimed == (size == 4)).all():
            return None
        return _spif(first, words[1::2] if size == 8 else None)
    if name == "t32_x16_y15_on1":
        events = np.frombuffer(data, T32)
        return EventColumns(events["x"], events["y_on"] >> 1, (events["y_on"] & 1).astype(np.bool_), events["t"])
    events = np.frombuffer(data, T64)
    return EventColumns(events["x"], events["y"], events["on"].astype(np.bool_), events["t"])


def decode_datagrams(form: EventForm, datagrams: Iterable[bytes]) -> Iterator[EventColumns | int]:
    """Datagrams in the order of their arrival as events; for those that are damaged, how many they are."""
    for kind, group in groupby(datagrams, lambda data: form_of(form, data)):
        parts = list(group)
        found = None if kind is None else decode(kind, b"".join(parts))
        if found is None and kind is not None and len(parts) > 1:
            # One that contradicts itself does not take its neighbours along.
            for part in parts:
                alone = decode(kind, part)
                yield 1 if alone is None else alone
        else:
            yield len(parts) if found is None else found


def _spif(words: NDArray[np.uint32], t: NDArray[np.uint32] | None) -> EventColumns:
    return EventColumns((words >> 16) & 0x7FFF, words & 0x7FFF, (words & 0x8000).astype(np.bool_), t)
