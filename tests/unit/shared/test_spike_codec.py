import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared.errors import CodecError
from shared.messages import Codec
from shared.spike_codec import SpikeCodec

shapes = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
frames = shapes.flatmap(lambda shape: hnp.arrays(np.uint8, shape, elements=st.integers(0, 1)))


@given(frames)
def test_round_trip(frame: np.ndarray) -> None:
    codec = SpikeCodec(frame.shape)
    chosen, data = codec.encode(frame)
    assert len(data) <= codec.max_bytes
    assert np.array_equal(codec.decode(chosen, data), frame)


@given(shapes, st.integers(0, 300), st.binary(max_size=80))
def test_any_bytes_decode_to_the_shape_or_raise(shape: tuple[int, int, int], codec: int, data: bytes) -> None:
    try:
        frame = SpikeCodec(shape).decode(codec, data)
    except CodecError:
        return
    assert frame.shape == shape
    assert set(np.unique(frame)) <= {0, 1}


def test_the_first_spike_is_the_highest_bit() -> None:
    frame = np.zeros((1, 3, 3), np.uint8)
    frame[0, 0, 0] = frame[0, 2, 2] = 1
    assert SpikeCodec((1, 3, 3)).encode(frame) == (Codec.PACKED_BITS, b"\x80\x80")


@pytest.mark.parametrize(
    ("codec", "data", "why"),
    [
        (1, b"\x80", "1 bytes"),
        (1, b"\x80\x80\x00", "3 bytes"),
        (1, b"\x80\x81", "behind the last"),
        (9, b"", "codec 9"),
    ],
)
def test_what_is_wrong_is_said(codec: int, data: bytes, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        SpikeCodec((1, 3, 3)).decode(codec, data)
