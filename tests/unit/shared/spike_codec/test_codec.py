"""Every frame comes back; every other string of bytes is refused, or is a frame of the right shape."""

from __future__ import annotations

import contextlib
import copy
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from shared.errors import CodecError
from shared.messages import Codec
from shared.network_spec import Shape
from shared.spike_codec import CodecContext, CodecTables, SpikeCodec
from shared.spike_codec.range_coder import PlainCoder
from shared.spike_codec.sparse import encode_sparse
from shared.spike_codec.zstd import ZstdCoder
from tests.support.codec_tables import make_tables
from tests.support.simple_decoder import decode as simply_decode

DICTIONARY = bytes(range(256)) * 4
SHAPES: tuple[Shape, ...] = ((1, 3, 3), (4, 8, 8), (3, 5, 7), (5, 1, 2), (2, 16, 16))
CODECS = {
    shape: SpikeCodec(shape, make_tables(shape, size=size, groups=groups, depth=depth, dictionary=DICTIONARY))
    for shape, size, groups, depth in zip(SHAPES, (3, 5, 3, 1, 3), (1, 2, 3, 2, 2), (0, 3, 2, 1, 6), strict=True)
}
shapes = st.sampled_from(SHAPES)


def clips(shape: Shape) -> st.SearchStrategy[NDArray[np.uint8]]:
    """Up to nine frames, mostly silent or mostly anything."""
    fill = st.sampled_from([0, 1])
    return hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 9), *map(st.just, shape)), elements=st.integers(0, 1), fill=fill
    )


@given(shapes.flatmap(clips))
def test_clips_come_back_frame_by_frame(clip: NDArray[np.uint8]) -> None:
    codec = CODECS[clip.shape[1:]]
    past = None
    for frame in clip:
        chosen, data = codec.encode(frame, past)
        assert len(data) <= codec.max_bytes
        decoded = codec.decode(chosen, data, past)
        assert decoded.dtype == np.uint8
        assert np.array_equal(decoded, frame)
        past = codec.next_context(past, frame)


@given(shapes.flatmap(clips))
def test_every_form_of_a_frame_comes_back(clip: NDArray[np.uint8]) -> None:
    shape = clip.shape[1:]
    codec = CODECS[shape]
    frame = clip[0]
    packed = np.packbits(frame).tobytes()
    forms = {
        Codec.PACKED_BITS: packed,
        Codec.RANGE: codec.range_bytes(frame),
        Codec.SPARSE: encode_sparse(frame.ravel()),
        Codec.ZSTD: ZstdCoder(DICTIONARY, codec.packed_bytes).encode(packed),
    }
    for chosen, data in forms.items():
        assert data is not None
        if len(data) <= codec.max_bytes:
            assert np.array_equal(codec.decode(chosen, data), frame), chosen
        else:
            with pytest.raises(CodecError):
                codec.decode(chosen, data)


@settings(max_examples=60)
@given(shapes.flatmap(clips))
def test_a_decoder_written_from_the_documentation_agrees(clip: NDArray[np.uint8]) -> None:
    shape = clip.shape[1:]
    codec = CODECS[shape]
    tables = plain(shape)
    past = None
    for timestep, frame in enumerate(clip):
        before = clip[:timestep].tolist()
        ranged = codec.range_bytes(frame, past)
        assert ranged is not None
        spellings = {Codec.RANGE: ranged, Codec.PACKED_BITS: np.packbits(frame).tobytes()}
        spellings[Codec.SPARSE] = encode_sparse(frame.ravel())
        for chosen, data in spellings.items():
            assert simply_decode(tables, shape, chosen, data, before) == frame.tolist(), chosen
        past = codec.next_context(past, frame)


@settings(max_examples=300)
@given(shapes, st.integers(-1, 300) | st.integers(0, 3), st.binary(max_size=80), st.integers(0, 2**32))
def test_any_bytes_decode_to_the_shape_or_raise(shape: Shape, chosen: int, data: bytes, seed: int) -> None:
    codec = CODECS[shape]
    random = np.random.default_rng(seed)
    past = None
    for _ in range(seed % 5):
        past = codec.next_context(past, random.integers(0, 2, shape, np.uint8))
    try:
        frame = codec.decode(chosen, data, past)
    except CodecError:
        return
    assert frame.shape == shape
    assert frame.dtype == np.uint8
    assert set(np.unique(frame)) <= {0, 1}


@st.composite
def batches(draw: st.DrawFn) -> tuple[SpikeCodec, list[tuple[int, bytes]], list[CodecContext | None]]:
    """Frames of several samples at any timesteps: sound ones, some with bytes changed, and noise."""
    shape = draw(shapes)
    codec = CODECS[shape]
    frames: list[tuple[int, bytes]] = []
    pasts: list[CodecContext | None] = []
    for _ in range(draw(st.integers(0, 20))):
        random = np.random.default_rng(draw(st.integers(0, 2**32)))
        clip = (random.random((draw(st.integers(1, 4)), *shape)) < random.choice([0.02, 0.2, 0.6])).astype(np.uint8)
        past = None
        for earlier in clip[:-1]:
            past = codec.next_context(past, earlier)
        form = draw(st.sampled_from(["chosen", "chosen", "packed", "changed", "longer", "noise"]))
        chosen, data = codec.encode(clip[-1], past)
        if form == "packed":
            chosen, data = Codec.PACKED_BITS, np.packbits(clip[-1]).tobytes()
        elif form == "changed" and data:
            data = bytes((data[0] ^ 1 << int(random.integers(8)), *data[1:]))
        elif form == "longer":
            data += draw(st.binary(min_size=1, max_size=3))
        elif form == "noise":
            frames.append((draw(st.integers(0, 5)), draw(st.binary(max_size=codec.max_bytes + 2))))
            pasts.append(past)
            continue
        frames.append((chosen, data))
        pasts.append(past)
    return codec, frames, pasts


@settings(max_examples=150)
@given(batches(), st.booleans())
def test_a_batch_is_its_frames_decoded_one_by_one(
    batch: tuple[SpikeCodec, list[tuple[int, bytes]], list[CodecContext | None]], in_python: bool
) -> None:
    codec, frames, pasts = batch
    if in_python:
        codec = copy.copy(codec)
        codec._coder = PlainCoder(make_tables(codec.shape).arrays()["model.chances"])
    together = codec.decode_batch(frames, pasts)
    assert len(together) == len(frames)
    for (chosen, data), past, found in zip(frames, pasts, together, strict=True):
        if isinstance(found, CodecError):
            with pytest.raises(CodecError, match=f"^{re.escape(str(found))}$"):
                codec.decode(chosen, data, past)
        else:
            alone = codec.decode(chosen, data, past)
            assert found.dtype == alone.dtype
            assert np.array_equal(found, alone)


def test_a_damaged_frame_fails_alone_in_its_batch() -> None:
    shape = (4, 8, 8)
    clips = (np.random.default_rng(5).random((12, 2, *shape)) < 0.1).astype(np.uint8)
    codec = SpikeCodec(shape, make_tables(shape, like=clips))
    firsts, seconds = clips.swapaxes(0, 1)
    pasts: list[CodecContext | None] = [codec.next_context(None, first) for first in firsts]
    encoded = [codec.encode(second, past) for second, past in zip(seconds, pasts, strict=True)]
    assert all(chosen == Codec.RANGE for chosen, _ in encoded)
    encoded[3] = (Codec.RANGE, encoded[3][1] + b"\1")
    encoded[7] = (9, b"")
    encoded[9], pasts[9] = codec.encode(firsts[9]), None
    found = codec.decode_batch(encoded, pasts)
    assert [number for number, each in enumerate(found) if isinstance(each, CodecError)] == [3, 7]
    for number in set(range(12)) - {3, 7}:
        assert np.array_equal(found[number], (firsts if number == 9 else seconds)[number])


def test_a_batch_of_packed_bits_needs_no_tables() -> None:
    codec = SpikeCodec((1, 3, 3))
    frame = np.zeros((1, 3, 3), np.uint8)
    frame[0, 0, 0] = frame[0, 2, 2] = 1
    found = codec.decode_batch([(1, b"\x80\x80"), (0, b"\1"), (2, b"")], [None] * 3)
    assert np.array_equal(found[0], frame)
    assert isinstance(found[1], CodecError)
    assert not np.any(found[2])


@settings(max_examples=300)
@given(shapes.flatmap(clips), st.sampled_from([Codec.RANGE, Codec.SPARSE, Codec.PACKED_BITS]), st.binary(max_size=40))
def test_a_frame_has_one_spelling_in_each_codec(clip: NDArray[np.uint8], chosen: Codec, data: bytes) -> None:
    codec = CODECS[clip.shape[1:]]
    past = codec.next_context(None, clip[0])
    try:
        frame = codec.decode(chosen, data, past)
    except CodecError:
        return
    spellings = {
        Codec.RANGE: codec.range_bytes(frame, past),
        Codec.SPARSE: encode_sparse(frame.ravel()),
        Codec.PACKED_BITS: np.packbits(frame).tobytes(),
    }
    assert spellings[chosen] == data


@pytest.mark.parametrize("extra", [b"\0", b"\1", b"\xff" * 4])
def test_garbage_behind_a_frame_is_refused(extra: bytes) -> None:
    shape = (4, 8, 8)
    codec = CODECS[shape]
    frame = np.zeros(shape, np.uint8)
    frame[0, 2, 3] = frame[3, 7, 7] = 1
    packed = np.packbits(frame).tobytes()
    squeezed = ZstdCoder(DICTIONARY, codec.packed_bytes).encode(packed)
    ranged = codec.range_bytes(frame)
    assert squeezed is not None
    assert ranged is not None
    for chosen, data in ((Codec.PACKED_BITS, packed), (Codec.ZSTD, squeezed), (Codec.RANGE, ranged)):
        assert np.array_equal(codec.decode(chosen, data), frame)
        with pytest.raises(CodecError):
            codec.decode(chosen, data + extra)


def test_a_zstd_bomb_is_refused_before_it_unfolds() -> None:
    shape = (4, 8, 8)
    # One block that repeats a byte two million times: four bytes on the wire.
    bomb = (2_000_000 << 3 | 1 << 1 | 1).to_bytes(4, "little")[:3] + b"\xff"
    with pytest.raises(CodecError, match="zstd"):
        CODECS[shape].decode(Codec.ZSTD, bomb)


def test_a_silent_frame_is_no_bytes() -> None:
    for shape, codec in CODECS.items():
        silent = np.zeros(shape, np.uint8)
        assert codec.encode(silent) == (Codec.RANGE, b"")
        assert codec.range_bytes(silent) == b""
        assert not codec.decode(Codec.RANGE, b"").any()
        assert SpikeCodec(shape).encode(silent) == (Codec.SPARSE, b"")
        assert not SpikeCodec(shape).decode(Codec.SPARSE, b"").any()


def test_the_past_of_a_frame_is_all_frames_before_it_up_to_the_depth() -> None:
    codec = SpikeCodec((1, 1, 2), make_tables((1, 1, 2), depth=2))
    past, seen = None, []
    for spikes in ([1, 0], [0, 1], [1, 1], [0, 1]):
        past = codec.next_context(past, np.array([[spikes]], np.uint8))
        seen.append(past.ravel().tolist())
    assert seen == [[0b11, 0b10], [0b110, 0b101], [0b101, 0b111], [0b110, 0b111]]


def test_the_initial_context_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        CODECS[(1, 3, 3)].initial_context[0, 0, 0] = 2


def test_a_frame_read_with_another_past_is_not_the_frame() -> None:
    shape = (4, 8, 8)
    codec = CODECS[shape]
    random = np.random.default_rng(3)
    first, second = random.integers(0, 2, (2, *shape), np.uint8)
    data = codec.range_bytes(second, codec.next_context(None, first))
    assert data is not None
    with contextlib.suppress(CodecError):
        assert not np.array_equal(codec.decode(Codec.RANGE, data[: codec.max_bytes], None), second)


def test_without_tables_there_are_packed_bits_and_positions() -> None:
    frame = np.zeros((1, 3, 3), np.uint8)
    frame[0, 0, 0] = frame[0, 2, 2] = 1
    codec = SpikeCodec((1, 3, 3))
    assert codec.encode(frame) == (Codec.PACKED_BITS, b"\x80\x80")
    assert codec.range_bytes(frame) is None
    assert codec.next_context(codec.next_context(None, frame), frame) is codec.initial_context
    few = np.zeros((1, 30, 30), np.uint8)
    few[0, 0, 3] = few[0, 20, 0] = 1
    codec = SpikeCodec((1, 30, 30))
    assert codec.encode(few) == (Codec.SPARSE, bytes((3, 596 & 127 | 128, 596 >> 7)))
    assert np.array_equal(codec.decode(Codec.SPARSE, codec.encode(few)[1]), few)


@pytest.mark.parametrize(
    ("codec", "data", "why"),
    [
        (1, b"\x80", "1 bytes"),
        (1, b"\x80\x80\x00", "3 bytes"),
        (1, b"\x80\x81", "behind the last"),
        (9, b"", "codec 9"),
        (0, b"", "no tables"),
        (3, b"", "no dictionary"),
        (2, b"\x09", "outside"),
        (2, b"\x04\x05", "outside"),
        (2, b"\x80\x00", "longer"),
        (2, b"\x80", "within"),
        (2, b"\xff\xff", "outside"),
    ],
)
def test_what_is_wrong_is_said(codec: int, data: bytes, why: str) -> None:
    with pytest.raises(CodecError, match=why):
        SpikeCodec((1, 3, 3)).decode(codec, data)


def plain(shape: Shape) -> dict[str, object]:
    """The tables of CODECS[shape] as the simple decoder takes them."""
    at = SHAPES.index(shape)
    size, groups, depth = (values[at] for values in ((3, 5, 3, 1, 3), (1, 2, 3, 2, 2), (0, 3, 2, 1, 6)))
    tables = make_tables(shape, size=size, groups=groups, depth=depth)
    assert isinstance(tables, CodecTables)
    return {name.removeprefix("model."): values.tolist() for name, values in tables.arrays().items()}
