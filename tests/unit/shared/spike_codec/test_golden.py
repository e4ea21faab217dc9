"""What was written once is written for ever: frames, tables and bytes from tests/golden/spike_codec.

The files are not made anew. A codec that fails here would not understand a cloud, or an edge, of yesterday. No torch,
so that other machines run it quickly: python -m pytest --noconftest tests/unit/shared/spike_codec/test_golden.py;
`make test-containers` does so on arm64.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.messages import Codec
from shared.spike_codec import CodecTables, SpikeCodec
from shared.spike_codec.range_coder import FastCoder, PlainCoder
from shared.spike_codec.sparse import encode_sparse
from tests.support.simple_decoder import decode as simply_decode

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "spike_codec"


@pytest.mark.parametrize("name", ["digits", "wide", "odd"])
@pytest.mark.parametrize("kind", [FastCoder, PlainCoder])
def test_bytes_are_those_of_the_first_day(name: str, kind: type[FastCoder | PlainCoder]) -> None:
    codec, samples = opened(name)
    chances = load_file(GOLDEN / f"{name}.safetensors")["model.chances"]
    if kind is FastCoder:
        pytest.importorskip("constriction")
    codec._coder = kind(chances)
    chosen = set()
    for sample in samples:
        past = None
        for written in sample:
            frame = spikes(codec, written["spikes"])
            ranged = codec.range_bytes(frame, past)
            assert ranged is not None
            assert ranged.hex() == written["range"]
            assert encode_sparse(frame.ravel()).hex() == written["sparse"]
            best, data = codec.encode(frame, past)
            assert best == written["chosen"]
            assert np.array_equal(codec.decode(best, data, past), frame)
            past = codec.next_context(past, frame)
            chosen.add(best)
    assert Codec.RANGE in chosen


@pytest.mark.parametrize("name", ["digits", "wide", "odd"])
def test_the_simple_decoder_reads_them(name: str) -> None:
    codec, samples = opened(name)
    arrays = load_file(GOLDEN / f"{name}.safetensors")
    tables = {key.removeprefix("model."): values.tolist() for key, values in arrays.items()}
    for sample in samples[::4]:
        before: list[list[list[list[int]]]] = []
        for written in sample:
            frame = simply_decode(tables, codec.shape, Codec.RANGE, bytes.fromhex(written["range"]), before)
            assert frame == spikes(codec, written["spikes"]).tolist()
            before.append(frame)


def opened(name: str) -> tuple[SpikeCodec, list[list[dict[str, Any]]]]:
    values = json.loads((GOLDEN / f"{name}.json").read_text())
    shape = tuple(values["shape"])
    return SpikeCodec(shape, CodecTables.from_arrays(load_file(GOLDEN / f"{name}.safetensors"), shape)), values[
        "samples"
    ]


def spikes(codec: SpikeCodec, packed: str) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8))
    return bits[: codec.spikes].reshape(codec.shape)
