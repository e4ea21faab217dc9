"""Frames that are made: of every density, for the sizes of all forms; and of 1,024 positions, for the codec's times."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.codec_forms import forms_of, spread_of, timed
from shared.network_spec import Shape
from shared.spike_codec import CodecContext, CodecTables, SpikeCodec
from shared.spike_codec.codec import TOGETHER
from shared.spike_codec.range_coder import WHOLE
from shared.spike_codec.tables import ModelTables
from training.codec_fit import fit_tables, train_dictionary

WIDE: Shape = (16, 8, 8)
"""1,024 positions, which the goals for the times are about."""
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5)
COUNTS = (64, 512, 1024, 4096)


def flat_tables(shape: Shape, share: float) -> ModelTables:
    """Tables that know nothing but the share of spikes."""
    channels = shape[0]
    chances = np.full(1, min(max(round(share * WHOLE), 2), WHOLE - 2), np.uint32)
    weights = np.zeros((3, channels, 2, channels, 1, 1), np.int8)
    return ModelTables(chances, np.zeros((1, channels, 1, 1), np.int8), np.zeros(channels, np.uint8), *weights)


def synthetic(counts: Sequence[int], frames: int) -> list[dict[str, Any]]:
    """Bytes over the entropy n H(p) / 8 of independent spikes, each form; the range coder is told p alone."""
    out = []
    for count in counts:
        for density in DENSITIES:
            random = np.random.default_rng(count)
            shape = (1, 1, count)
            training = (random.random((400, 1, *shape)) < density).astype(np.uint8)
            test = (random.random((frames, *shape)) < density).astype(np.uint8)
            codec = SpikeCodec(shape, CodecTables(flat_tables(shape, density)))
            entropy = -count * (density * np.log2(density) + (1 - density) * np.log2(1 - density)) / 8
            forms = forms_of(codec, train_dictionary(training))
            took: dict[str, list[float]] = {}
            row: dict[str, Any] = {"positions": count, "density": density, "entropy bytes": round(float(entropy), 2)}
            for name, (encode, _) in forms.items():
                data = [timed(took, name, partial(encode, frame, None)) for frame in test]
                row[f"{name}: bytes over entropy"] = round(float(np.mean([len(d) for d in data]) / entropy), 3)
                row[f"{name}: encode us"] = round(float(np.median(took[name])), 1)
            out.append(row)
    return out


def wide_times() -> dict[str, list[float]]:
    """A frame of 1,024 positions (16 x 8 x 8): made spikes that hang together in space and time, tables fitted to them.

    Only its times are of interest: they hang on the number of positions, channels and spikes around that count.
    """
    random = np.random.default_rng(1)
    field = random.normal(size=(400, 16, 10, 10))
    shifted = [field[:, :, down : down + 8, right : right + 8] for down in range(3) for right in range(3)]
    smooth = np.mean(shifted, axis=0) * 3
    noise = random.normal(size=(400, 4, 16, 8, 8))
    clips = (smooth[:, np.newaxis] + 0.5 * noise > 1.4).astype(np.uint8)
    codec = SpikeCodec(WIDE, fit_tables(clips[:300]))
    took: dict[str, list[float]] = {}
    for start in range(300, len(clips), TOGETHER):
        batch = clips[start : start + TOGETHER]
        pasts: list[CodecContext | None] = [None] * len(batch)
        for timestep in range(clips.shape[1]):
            name = "later frame" if timestep else "first frame"
            encoded = []
            for clip, past in zip(batch, pasts, strict=True):
                which, data = timed(took, f"{name}: encode", partial(codec.encode, clip[timestep], past))
                timed(took, f"{name}: decode", partial(codec.decode, which, data, past))
                encoded.append((which, data))
            timed(took, f"{name}: decode, {TOGETHER} in step", partial(codec.decode_batch, encoded, pasts))
            took[f"{name}: decode, {TOGETHER} in step"][-1] /= len(batch)
            pasts = [codec.next_context(past, clip[timestep]) for past, clip in zip(pasts, batch, strict=True)]
    return {name: spread_of(values) for name, values in took.items()}
