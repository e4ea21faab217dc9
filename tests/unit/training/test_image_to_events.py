from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.image_to_events import SENSITIVITY, TIMES, brightness, image_to_events

PATHS = ((9, 4), (4, 3), (3, 8), (8, 1), (5, 6), (5, 2), (5, 3), (5, 1))
"""From which place of a 3 x 3 grid to which, counted from 1: the list in the paper's Algorithm 1."""


def published(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Algorithm 1 of the paper as it stands: [8, 2, H, W]."""
    kernels = torch.zeros(8, 1, 3, 3)
    for time, (start, end) in enumerate(PATHS):
        kernels[time, 0, (start - 1) // 3, (start - 1) % 3] = -1
        kernels[time, 0, (end - 1) // 3, (end - 1) % 3] = 1
    value = torch.from_numpy(brightness(picture))
    change = torch.nn.functional.conv2d(value[None, None], kernels, padding=1)[0]
    threshold = SENSITIVITY * float(value.max() - value.min())
    return torch.stack([change > threshold, -change > threshold], dim=1).numpy()


def test_the_events_are_those_of_the_published_algorithm() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
    events = image_to_events(picture, 20)
    found = np.zeros((TIMES, 2, 20, 20), np.bool_)
    found[events["t"], np.where(events["polarity"], 0, 1), events["y"], events["x"]] = True
    np.testing.assert_array_equal(found, published(picture))
    assert len(events) == found.sum()  # one a pixel and time at most


def test_a_picture_is_enlarged_first() -> None:
    picture = np.zeros((1, 8, 8), np.uint8)
    picture[:, :, 4:] = 255
    events = image_to_events(picture, 34)
    assert events["x"].max() < 34
    # The bright half ends at the edge, which is dark beyond.
    assert set(events["y"][(events["x"] > 1) & (events["x"] < 14)].tolist()) == set()
