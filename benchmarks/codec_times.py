"""How long the forms take in which a frame could be sent: on a bundle's frames, and on made ones of 1,024 positions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from edge_client.heads.factory import open_head
from shared.bundle import Bundle
from shared.network_spec import Shape
from shared.spike_codec import CodecContext, SpikeCodec
from shared.spike_codec.codec import TOGETHER
from shared.spike_codec.range_coder import PlainCoder
from shared.spike_codec.sparse import decode_sparse, encode_sparse
from shared.spike_codec.tables import ModelTables
from shared.spike_codec.zstd import ZstdCoder
from training.codec_fit import fit_tables
from training.collect_spikes import SpikeTrain

CHOICE = "codec's choice"
WIDE: Shape = (16, 8, 8)
"""1,024 positions, which the goals for the times are about."""

Form = tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any] | None]
"""encode(frame, past) -> bytes, decode(bytes, past) -> anything."""

Durations = dict[str, list[float]]


def forms_of(codec: SpikeCodec, dictionary: bytes | None) -> dict[str, Form]:
    """What a frame could be sent as, apart from the codec's own choice."""
    plain = zstandard.ZstdCompressor(level=3, write_content_size=False)
    packed_only = SpikeCodec(codec.shape)
    forms: dict[str, Form] = {
        "packed bits": (lambda f, _: np.packbits(f).tobytes(), lambda d, _: packed_only.decode(1, d)),
        "zstd -3": (lambda f, _: plain.compress(np.packbits(f).tobytes()), None),
        "positions (varints)": (lambda f, _: encode_sparse(f.ravel()), lambda d, _: decode_sparse(d, codec.spikes)),
        "codec (range-coded)": (codec.range_bytes, lambda d, past: codec.decode(0, d, past)),
    }
    if dictionary is not None:
        zstd = ZstdCoder(dictionary, codec.packed_bytes)
        forms["zstd, dictionary"] = (
            lambda f, _: zstd.encode(np.packbits(f).tobytes()),
            lambda d, _: zstd.decode(d),
        )
    return forms


def frame_times(
    codec: SpikeCodec,
    model: ModelTables,
    forms: Mapping[str, Form],
    frames: SpikeTrain,
    bundle: Bundle,
    samples: NDArray[np.uint8],
) -> dict[str, list[float]]:
    """Microseconds of each form on each frame in turn, and between them of a step of the head; see `_spread`."""
    slow = SpikeCodec(codec.shape)
    slow._model, slow._coder = codec._model, PlainCoder(model.chances)
    timed_forms: dict[str, Form] = {
        **forms,
        "coder in Python": (slow.range_bytes, lambda d, past: slow.decode(0, d, past)),
        CHOICE: (codec.encode, lambda d, past: codec.decode(d[0], d[1], past)),
    }
    took: Durations = {}
    head = open_head(bundle, "torch", 1)
    for sample, picture in zip(frames, samples, strict=False):
        past = None
        run = head.start(picture)
        for frame in sample:
            _timed(took, "head step", run.step)
            for name, (encode, decode) in timed_forms.items():
                data = _timed(took, f"{name}: encode", partial(encode, frame, past))
                if decode is not None and (name == CHOICE or len(data) <= codec.max_bytes):
                    _timed(took, f"{name}: decode", partial(decode, data, past))
            past = _timed(took, "past of the next frame", partial(codec.next_context, past, frame))
    return _spread(took)


def wide_times() -> dict[str, list[float]]:
    """As `frame_times`, of made spikes that hang together in space and time, with tables fitted to them.

    Only the times are of interest: they depend on the number of positions, channels and spikes around that count.
    """
    random = np.random.default_rng(1)
    field = random.normal(size=(400, 16, 10, 10))
    shifted = [field[:, :, down : down + 8, right : right + 8] for down in range(3) for right in range(3)]
    smooth = np.mean(shifted, axis=0) * 3
    noise = random.normal(size=(400, 4, *WIDE))
    clips = (smooth[:, np.newaxis] + 0.5 * noise > 1.4).astype(np.uint8)
    codec = SpikeCodec(WIDE, fit_tables(clips[:300]))
    took: Durations = {}
    for start in range(300, len(clips), TOGETHER):
        batch = clips[start : start + TOGETHER]
        pasts: list[CodecContext | None] = [None] * len(batch)
        for timestep in range(clips.shape[1]):
            name = "later frame" if timestep else "first frame"
            encoded = []
            for clip, past in zip(batch, pasts, strict=True):
                which, data = _timed(took, f"{name}: encode", partial(codec.encode, clip[timestep], past))
                _timed(took, f"{name}: decode", partial(codec.decode, which, data, past))
                encoded.append((which, data))
            _timed(took, f"{name}: decode, {TOGETHER} in step", partial(codec.decode_batch, encoded, pasts))
            took[f"{name}: decode, {TOGETHER} in step"][-1] /= len(batch)
            pasts = [codec.next_context(past, clip[timestep]) for past, clip in zip(pasts, batch, strict=True)]
    return _spread(took)


def _timed(took: Durations, name: str, call: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    result = call()
    took.setdefault(name, []).append((time.perf_counter() - began) * 1e6)
    return result


def _spread(took: Durations) -> dict[str, list[float]]:
    """Median, 10th and 90th percentile of each."""
    return {name: [round(float(v), 1) for v in np.percentile(values, [50, 10, 90])] for name, values in took.items()}
