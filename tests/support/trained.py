"""What the training code says that the pair sends and answers: the reference for both executions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundle import Bundle
from training.calibrate import cloud_confidences
from training.data import to_input
from training.execute import execute_bundle
from training.executed import read_answers


class Trained(NamedTuple):
    """Of N samples: the frames [T, N, C', H', W'], zeros and ones, and the confidences [T, N, classes]."""

    frames: NDArray[np.uint8]
    confidences: NDArray[np.float64]


@torch.inference_mode()
def trained(bundle: Bundle, samples: NDArray[np.uint8]) -> Trained:
    """A bundle's execution over samples: pictures [N, C, H, W] or event frames [N, T, C, H, W]."""
    manifest, settings = bundle.manifest, bundle.settings
    executed = execute_bundle(bundle)
    frames = executed.frames(to_input(torch.from_numpy(samples), manifest.normalisation, manifest.network.input_kind))
    answers = read_answers(bundle.execution, executed.logits(frames).double(), settings.readout_leak)
    return Trained(frames.numpy().astype(np.uint8), cloud_confidences(answers.numpy(), settings.temperature))
