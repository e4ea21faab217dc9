"""The spikes that a bundle's edge sends for the samples of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.datasets.base import Part
from shared.datasets.registry import info, read, request_for
from shared.errors import ConfigError
from training.data import bundle_data, to_input
from training.execute import execute_bundle
from training.executed import read_answers
from training.progress import Progress

BATCH = 50

SpikeTrain = NDArray[np.uint8]
"""[N, T, C, H, W], zeros and ones."""


def bundle_samples(
    bundle: Bundle, name: str | None, root: Path | None, *, allow_partial: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Training and test samples of a bundle: pictures [N, C, H, W] or event frames [N, T, C, H, W].

    They are the samples that the bundle was trained with if its provenance names them, without the held-out ones. In a
    partial set the held-out samples are unknown, so both parts are returned whole.

    Args:
        bundle: its manifest gives size and timesteps, its provenance the data set.
        name: of the data set; a bundle without provenance needs it.
        root: folder of the data sets; None for a set inside the package.
        allow_partial: accept a data set that lacks recordings that the bundle was trained with.

    Raises:
        SourceError: the data set is missing or damaged.
        ConfigError: no data set is named, the bundle was trained with another one, or its samples do not fit the
            bundle.
    """
    made_with = bundle.manifest.provenance.get("data", {})
    if "held_out" in made_with and not allow_partial:
        data = bundle_data(bundle, root, name)
        return data.train.frames.numpy(), data.test.frames.numpy()
    name = name or made_with.get("name")
    if name is None:
        raise ConfigError(f"bundle {bundle.path} does not say what it was trained on: name it with --dataset")
    spec = bundle.manifest.network
    known = info(name)
    if (known.kind, known.channels) != (spec.input_kind, spec.input_shape[0]):
        raise ConfigError(
            f"data set {name} has {known.kind} samples of {known.channels} channels, the bundle takes "
            f"{spec.input_kind} samples of {spec.input_shape}: choose the set it was trained on"
        )

    def frames(part: Part) -> NDArray[np.uint8]:
        binning = made_with.get("binning", "count")
        return read(request_for(bundle.manifest, name, root, part, binning=binning, allow_partial=allow_partial)).frames

    return frames("train"), frames("test")


@torch.inference_mode()
def bundle_spikes(bundle: Bundle, samples: NDArray[np.uint8]) -> SpikeTrain:
    """All T frames of each sample, as the edge sends them in the bundle's execution.

    Raises:
        BundleError: weights are missing or damaged.
    """
    spec = bundle.manifest.network
    executed = execute_bundle(bundle)
    out = np.empty((len(samples), spec.timesteps, *bundle.manifest.frame_shape), np.uint8)
    with Progress(f"spikes of {len(samples)} samples", len(samples)) as progress:
        for start in range(0, len(samples), BATCH):
            taken = torch.from_numpy(np.ascontiguousarray(samples[start : start + BATCH]))
            frames = executed.frames(to_input(taken, bundle.manifest.normalisation, spec.input_kind))
            out[start : start + len(taken)] = frames.transpose(0, 1).numpy()
            progress.at(start + len(taken))
    return out


@torch.inference_mode()
def cloud_answers(bundle: Bundle, frames: SpikeTrain) -> NDArray[np.int64]:
    """The classes [N] that the cloud's half predicts at full T for spikes [N, T, C, H, W].

    Raises:
        BundleError: weights are missing or damaged.
    """
    executed = execute_bundle(bundle)
    answers = []
    with Progress(f"the cloud's answers to {len(frames)} samples", len(frames)) as progress:
        for start in range(0, len(frames), BATCH):
            taken = torch.from_numpy(frames[start : start + BATCH]).float().transpose(0, 1).contiguous()
            logits = read_answers(bundle.execution, executed.logits(taken), bundle.settings.readout_leak)
            answers.append(logits[-1].argmax(1).numpy())
            progress.at(start + taken.shape[1])
    return np.concatenate(answers)
