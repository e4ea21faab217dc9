"""Runs the first convolution of a sample: once for a picture, once for each event frame that is not empty.

It has no memory, so equal frames have equal currents. A picture is the same at every timestep, and an empty event frame
is like any other empty one, whose current is computed when the head is loaded (only the normalisation's folded bias is
left). Neither changes a bit. The membranes behind it must step all the same: they leak, and biases charge them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from shared.manifest import Manifest, Normalisation

Current = TypeVar("Current")


class Embedding(Generic[Current]):
    """The first convolution of a head. `Current` is the runtime's array type.

    Args:
        manifest: of the bundle; it has the shape of a sample.
        embed: one normalised frame, float32 [1, C, H, W], to the current of the first neuron.
    """

    def __init__(self, manifest: Manifest, embed: Callable[[NDArray[np.float32]], Current]) -> None:
        spec = manifest.network
        self._static = spec.input_kind == "static"
        self._shape = spec.sample_shape
        self._normalisation = manifest.normalisation
        self._embed = embed
        self._of_empty = self._current(np.zeros(spec.input_shape, np.uint8))

    def currents(self, pixels: InputArray) -> Iterator[Current]:
        """The current of each timestep of a sample. Those of event frames are computed when they are asked for."""
        assert pixels.shape == self._shape, (pixels.shape, self._shape)
        return itertools.repeat(self._current(pixels)) if self._static else map(self._of_frame, pixels)

    def _of_frame(self, frame: InputArray) -> Current:
        return self._current(frame) if frame.any() else self._of_empty

    def _current(self, frame: InputArray) -> Current:
        return self._embed(normalise(frame, self._normalisation)[np.newaxis])


def normalise(pixels: InputArray, normalisation: Normalisation) -> NDArray[np.float32]:
    """Return (pixel * scale - mean) / std as float32 of the same shape; channels are the third axis from the end."""
    mean = np.array(normalisation.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(normalisation.std, np.float32)[:, np.newaxis, np.newaxis]
    scaled = pixels.astype(np.float32) * np.float32(normalisation.scale)
    return ((scaled - mean) / std).astype(np.float32, copy=False)
