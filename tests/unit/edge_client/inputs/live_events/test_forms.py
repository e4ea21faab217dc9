from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.events.sender import SentForm, datagrams, encode
from edge_client.event_options import EventForm, EventOptions
from edge_client.inputs.live_events.byte_streams import Unpacker
from edge_client.inputs.live_events.columns import EventColumns
from edge_client.inputs.live_events.counts import StreamCounts
from edge_client.inputs.live_events.forms import TIME_BITS, decode_datagrams
from edge_client.inputs.live_events.windows import LiveWindows
from edge_client.windows import Window
from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events
from shared.datasets.events import bin_events
from tests.unit.shared.datasets.made import made

SENT: dict[str, Any] = json.loads((Path(__file__).parents[4] / "golden/event_streams/senders.json").read_text())
FORMS: dict[SentForm, EventForm] = {
    "spif4": "spif",
    "spif8": "spif",
    "t32_x16_y15_on1": "t32_x16_y15_on1",
    "t64_x16_y16_on8": "t64_x16_y16_on8",
}


def same(found: list[EventColumns | int], events: Events, *, timed: bool = True) -> None:
    batches = [batch for batch in found if isinstance(batch, EventColumns)]
    assert len(batches) == len(found)
    for name in ("x", "y", "polarity", *(["t"] if timed else [])):
        np.testing.assert_array_equal(np.concatenate([getattr(batch, name) for batch in batches]), events[name], name)
    assert timed or all(batch.t is None for batch in batches)


@pytest.mark.parametrize(
    ("program", "form"),
    [
        ("aestream-4", "spif"),
        ("aestream-8", "spif"),
        ("faery-t32_x16_y15_on1", "t32_x16_y15_on1"),
        ("faery-t64_x16_y16_on8", "t64_x16_y16_on8"),
    ],
)
def test_what_aestream_and_faery_send(program: str, form: EventForm) -> None:
    """Datagrams that these programs sent, byte for byte."""
    events = make_events(*(SENT["events"][name] for name in ("x", "y", "polarity", "t")))
    sent = [bytes.fromhex(data) for data in SENT["datagrams"][program]]
    if program == "aestream-8":
        # Its last datagram is twice as long as what it holds; the rest is what was sent before.
        sent[-1] = sent[-1][: len(sent[-1]) // 2]
    same(list(decode_datagrams(form, sent)), events, timed=program != "aestream-4")


@pytest.mark.parametrize("form", FORMS)
def test_what_our_sender_sends(form: SentForm) -> None:
    events = made(1000)
    same(list(decode_datagrams(FORMS[form], datagrams(events, form))), events, timed=form != "spif4")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_events_in_a_byte_stream(form: SentForm, piece: int) -> None:
    events, counts = made(300), StreamCounts()
    data, unpacker = encode(events, form), Unpacker(FORMS[form], counts)
    found = [unpacker.events(data[low : low + piece]) for low in range(0, len(data), piece)]
    same([batch for batch in found if batch is not None], events, timed=form != "spif4")
    assert counts.malformed == 0


def test_forms_of_different_lengths_in_one_stream() -> None:
    events = made(64)
    mixed = [encode(events[:32], "spif8"), encode(events[32:], "spif4")]
    first, second = decode_datagrams("spif", mixed)
    assert isinstance(first, EventColumns)
    assert isinstance(second, EventColumns)
    assert (first.t is None, second.t is None) == (False, True)


def test_damaged_datagrams_are_counted_and_take_nothing_along() -> None:
    events = made(96)
    whole = list(datagrams(events, "spif8"))
    contradicts = bytearray(whole[1])
    contradicts[8 + 3] |= 0x80  # the second event says that it has no time
    found = list(decode_datagrams("spif", [whole[0], b"", b"abc", bytes(contradicts), whole[2]]))
    assert [len(batch) if isinstance(batch, EventColumns) else -batch for batch in found] == [32, -2, -1, 32]


@given(st.sampled_from(sorted(set(FORMS.values()))), st.lists(st.binary(max_size=60), max_size=20), st.booleans())
def test_whatever_comes_does_not_end_a_stream(form: EventForm, sent: list[bytes], empty: bool) -> None:
    counts, unpacker = StreamCounts(), Unpacker(form, StreamCounts())
    options = EventOptions(denoise=1.0)
    bits = TIME_BITS[form]
    over_udp = LiveWindows("x", Window.parse("time:1000/500"), (34, 34), options, bits, counts, empty=empty)
    over_tcp = LiveWindows("x", Window.parse("count:3/2"), (34, 34), options, bits, StreamCounts(), empty=empty)
    for batch in decode_datagrams(form, sent):
        if isinstance(batch, EventColumns):
            for cut in over_udp.take(batch):
                bin_events(cut.events, 4, (34, 34), by="time", span=cut.span)
    for piece in sent:
        if (found := unpacker.events(piece)) is not None:
            for cut in over_tcp.take(found):
                assert len(cut.events) == 3
    assert counts.outside + counts.late + counts.denoised <= counts.events
