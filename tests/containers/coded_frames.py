"""What this machine makes of many frames, as one line of JSON: python -m tests.containers.coded_frames

Tables are those of the golden files, frames are random integers, so nothing but the codec can differ between machines.
"""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from shared.spike_codec import CodecTables, SpikeCodec
from tests.unit.shared.spike_codec.test_golden import GOLDEN

CLIPS = 60
TIMESTEPS = 4
EIGHTHS = (0, 1, 1, 3, 7)
"""Of the positions of a clip's frames that spike."""


def coded() -> dict[str, Any]:
    """The SHA-256 of all frames' codecs and bytes; that each comes back is checked on the way."""
    digest = hashlib.sha256()
    chosen: dict[str, int] = {}
    coders = set()
    frames = size = 0
    for path in sorted(GOLDEN.glob("*.safetensors")):
        shape = tuple(json.loads(path.with_suffix(".json").read_text())["shape"])
        codec = SpikeCodec(shape, CodecTables.from_arrays(load_file(path), shape))
        coders.add(type(codec._coder).__name__)
        random = np.random.default_rng(len(shape) + frames)
        for number in range(CLIPS):
            clip = random.integers(0, 8, (TIMESTEPS, *shape)) < EIGHTHS[number % len(EIGHTHS)]
            past = None
            for frame in clip.astype(np.uint8):
                codec_number, data = codec.encode(frame, past)
                ranged = codec.range_bytes(frame, past)
                assert ranged is not None
                assert np.array_equal(codec.decode(codec_number, data, past), frame)
                assert np.array_equal(codec.decode_batch([(codec_number, data)] * 3, [past] * 3), [frame] * 3)
                for part in (bytes([codec_number]), len(data).to_bytes(4, "big"), data, ranged):
                    digest.update(part)
                chosen[codec_number.name] = chosen.get(codec_number.name, 0) + 1
                frames += 1
                size += len(data)
                past = codec.next_context(past, frame)
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "coders": sorted(coders),
        "frames": frames,
        "bytes": size,
        "chosen": chosen,
        "sha256": digest.hexdigest(),
    }


if __name__ == "__main__":
    print(json.dumps(coded()))
