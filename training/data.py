"""The samples of a recipe in memory: the training, held-out and test parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import Bundle
from shared.datasets.base import Labels, Part, Pixels, Split, concatenate
from shared.datasets.registry import info, make_request, stream
from shared.errors import ConfigError, SourceError
from shared.manifest import Normalisation
from shared.network_spec import InputKind, NetworkSpec
from shared.plain_data import dataclass_from
from training.datasets.folder import load_folder
from training.recipe import DataRecipe, Recipe

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Samples:
    """uint8 frames [N, C, H, W] (pictures) or [N, T, C, H, W] (events) and int64 labels [N]."""

    frames: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TrainingData:
    """The parts of a data set that a run uses. No sample is in two of them."""

    train: Samples
    held_out: Samples
    test: Samples
    class_names: tuple[str, ...]
    normalisation: Normalisation
    simulated: bool

    @property
    def kind(self) -> InputKind:
        """Whether a sample is one picture or a frame of events for each timestep."""
        return "static" if self.train.frames.dim() == 4 else "events"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all samples with their labels, part by part, and of the classes' names."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for part in (self.train, self.held_out, self.test):
            digest.update(str(tuple(part.frames.shape)).encode())
            digest.update(part.frames.numpy().data)
            digest.update(part.labels.numpy().data)
        return digest.hexdigest()


def load_data(recipe: Recipe, root: Path | None) -> TrainingData:
    """The samples of a recipe, see `load_parts`."""
    return load_parts(recipe.data, recipe.network, recipe.seed, root)


def bundle_data(bundle: Bundle, root: Path | None, dataset: str | None = None) -> TrainingData:
    """The samples that a bundle was trained with. The samples that were held out then are held out now.

    Args:
        bundle: its provenance has the recipe's data settings.
        root: the folder with the data sets.
        dataset: must be the one in its provenance, if that names one.

    Raises:
        SourceError: the data set is missing, damaged or incomplete.
        ConfigError: the provenance does not say what was held out, or names another data set, or other samples.
    """
    provenance = bundle.manifest.provenance
    try:
        data, seed = dataclass_from(DataRecipe, provenance["data"]), int(provenance["seed"])
    except (KeyError, TypeError, ValueError, ConfigError):
        raise ConfigError(
            f"bundle {bundle.path} does not say which samples were held out from its training (provenance.data, "
            "provenance.seed): only its own recipe can add to it, `neucodex-train export --recipe FILE`"
        ) from None
    if dataset not in (None, data.name):
        raise ConfigError(f"bundle {bundle.path} was trained on {data.name}, --dataset is {dataset}")
    found = load_parts(data, bundle.manifest.network, seed, root)
    if provenance.get("data_digest", found.digest) != found.digest:
        raise ConfigError(
            f"bundle {bundle.path} was trained on other samples than {data.name} has now: what was held out then is "
            "not known any more; train it again, or name the data as it was"
        )
    return found


def load_parts(data: DataRecipe, network: NetworkSpec, seed: int, root: Path | None) -> TrainingData:
    """Read a data set and cut its held-out part from the training part (seeded, the same share of each class).

    The held-out samples come in random order, whatever the data set's: so any part of them is a random draw, which
    calibration and its guarantee need.

    Args:
        data: the data settings of a recipe.
        network: says size, timesteps and kind of the input.
        seed: of the held-out samples' choice.
        root: the folder of the data sets; None for a set inside the package.

    Raises:
        SourceError: the data set is missing, damaged or incomplete.
        ConfigError: it does not fit the recipe's network.
    """
    train, test, names, simulated = _read(data, network, root)
    if train.frames.shape[1:] != network.sample_shape:
        raise ConfigError(
            f"{data.name} gives samples {train.frames.shape[1:]}, the recipe's network takes {network.sample_shape}: "
            "network.input_shape, input_kind or timesteps do not fit"
        )
    if len(names) != network.classes:
        raise ConfigError(f"{data.name} has {len(names)} classes, network.classes is {network.classes}")
    if not 0 < data.held_out < len(train):
        raise ConfigError(f"data.held_out is {data.held_out}: of {len(train)} training samples some must stay")
    held_out = _held_out(train.labels, data.held_out, seed)
    trained = np.delete(np.arange(len(train)), held_out)
    return TrainingData(
        train=_tensors(train.frames[trained], train.labels[trained]),
        held_out=_tensors(train.frames[held_out], train.labels[held_out]),
        test=_tensors(test.frames, test.labels),
        class_names=names,
        normalisation=_normalisation(train.frames[trained], network.input_kind == "static"),
        simulated=simulated,
    )


def to_input(frames: Tensor, normalisation: Normalisation, kind: InputKind) -> Tensor:
    """uint8 samples [B, (T,) C, H, W] to what a network takes: float32 [B, C, H, W] or, for events, [T, B, C, H, W].

    A network for static input sees the mean of a clip's frames (as a quantised stage does, which has no timesteps).
    """
    shape = (-1, 1, 1)
    mean = torch.tensor(normalisation.mean, device=frames.device).view(shape)
    std = torch.tensor(normalisation.std, device=frames.device).view(shape)
    values = (frames.float() * normalisation.scale - mean) / std
    if values.dim() == 4:
        return values
    return values.mean(1) if kind == "static" else values.transpose(0, 1).contiguous()


def evenly_spaced(samples: NDArray[Value], limit: int | None) -> NDArray[Value]:
    """At most `limit` evenly spaced samples."""
    if limit is None or len(samples) <= limit:
        return samples
    return samples[np.linspace(0, len(samples) - 1, limit).astype(np.intp)]


def _read(data: DataRecipe, network: NetworkSpec, root: Path | None) -> tuple[Split, Split, tuple[str, ...], bool]:
    side = network.input_shape[1]
    if data.name == "folder":
        if root is None:
            raise SourceError("name the folder of pictures with --data DIR (one subfolder for each class)")
        folder = load_folder(root, side, network.input_shape[0], data.fit)
        return folder.train, folder.test, folder.classes, folder.simulated
    known = info(data.name)

    def read(part: Part) -> Split:
        request = make_request(
            data.name,
            root,
            part,
            size=side,
            timesteps=network.timesteps,
            binning=data.binning,
            allow_partial=data.allow_partial,
            fit=data.fit,
        )
        return _first(stream(request), data.limit)

    return read("train"), read("test"), known.classes, known.simulated


def _first(pieces: Iterable[Split], limit: int | None) -> Split:
    """The first `limit` samples of a part, without decoding the files behind them."""
    taken: list[Split] = []
    missing = limit
    for piece in pieces:
        taken.append(Split(piece.frames[:missing], piece.labels[:missing]))
        if missing is not None:
            missing -= len(taken[-1])
            if missing == 0:
                break
    return concatenate(taken)


def _tensors(frames: Pixels, labels: Labels) -> Samples:
    return Samples(torch.from_numpy(np.ascontiguousarray(frames)), torch.from_numpy(np.ascontiguousarray(labels)))


def _held_out(labels: Labels, count: int, seed: int) -> Labels:
    """`count` positions in the training part, with each class in its share, in random order."""
    random = np.random.default_rng(seed)
    # Shuffled, then sorted by the rank within the class: the first `count` are spread evenly over the classes.
    order = random.permutation(len(labels))
    rank = np.empty(len(labels), np.float64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members)) / len(members)
    return random.permutation(order[np.argsort(rank[order], kind="stable")][:count])


def _normalisation(frames: Pixels, static: bool) -> Normalisation:
    """Pictures get zero mean and unit variance for each channel. Event counts are only scaled: zero stays zero."""
    scale = 1.0 / 255.0 if static else 1.0
    channel = frames.ndim - 3
    axes = tuple(axis for axis in range(frames.ndim) if axis != channel)
    some = frames[:: max(1, len(frames) // 10_000)].astype(np.float32) * scale
    mean = some.mean(axis=axes) if static else np.zeros(frames.shape[channel])
    std = np.maximum(some.std(axis=axes), 1e-6)
    return Normalisation(scale, tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) for s in std))
