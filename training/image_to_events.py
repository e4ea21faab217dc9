"""Makes events from a picture by the method I2E: a fixed set of differences stands for the eye's small movements.

Ma et al., "I2E: Real-Time Image-to-Event Conversion for High-Performance Spiking Neural Networks", AAAI 2026. The
picture's largest colour at each pixel is its brightness. At each of eight times it is subtracted from itself, moved by
a pixel; where the difference is more than a share of the picture's range there is an event, ON or OFF. No clock, noise
or sensor is modelled, as `event_simulation.py` does: this is for training on many pictures, and no recording either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events
from training.event_simulation import Image, resize

TIMES = 8
"""Of one picture; the time of an event is one of 0..7."""

SENSITIVITY = 0.07
"""The threshold, as a share of the picture's range: the paper's for CIFAR."""

Step = tuple[int, int]
"""(rows, columns) by which the picture is moved."""

DIFFERENCES: Sequence[tuple[Step, Step]] = (
    ((1, 1), (0, -1)),
    ((0, -1), (-1, 1)),
    ((-1, 1), (1, 0)),
    ((1, 0), (-1, -1)),
    ((0, 0), (0, 1)),
    ((0, 0), (-1, 0)),
    ((0, 0), (-1, 1)),
    ((0, 0), (-1, -1)),
)
"""At each time: the pixel that is taken from the other one, as (rows, columns) from the event's own. It is the paper's
order: large movements come first."""


def brightness(picture: NDArray[np.uint8]) -> Image:
    """The largest colour 0..1 [H, W] of a uint8 picture [3, H, W] or [1, H, W]."""
    return np.asarray(picture.max(axis=0), np.float32) / np.float32(255)


def image_to_events(picture: NDArray[np.uint8], side: int, sensitivity: float = SENSITIVITY) -> Events:
    """The events of a uint8 picture [3 or 1, H, W], enlarged to `side` pixels.

    Their times are 0..7, and at each time a pixel has one at most. The same picture gives the same events.

    Args:
        picture: to convert.
        side: rows and columns of the events.
        sensitivity: the threshold, as a share of the picture's range.
    """
    image = resize(brightness(picture), side, side)
    threshold = sensitivity * float(image.max() - image.min())
    padded = np.pad(image, 1)  # dark around it, as the paper has it
    found = []
    for time, (taken, other) in enumerate(DIFFERENCES):
        change = _moved(padded, other, side) - _moved(padded, taken, side)
        rows, columns = np.nonzero(np.abs(change) > threshold)
        found.append((columns, rows, change[rows, columns] > 0, np.full(len(rows), time)))
    return make_events(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _moved(padded: Image, step: Step, side: int) -> Image:
    row, column = step
    return padded[1 + row : 1 + row + side, 1 + column : 1 + column + side]
