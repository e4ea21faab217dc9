"""Where samples come from: pictures by path, or the test part of a data set.

A source is iterated once. What cannot be read comes out as `Unreadable` in its place, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from edge_client.config import InputConfig
from edge_client.head_runner import Frames
from edge_client.pictures import find_pictures, read_picture
from shared.bundle import Manifest
from shared.datasets import registry
from shared.errors import SourceError
from shared.network_spec import NetworkSpec


@dataclass(frozen=True)
class Sample:
    """One input: `frames` uint8 [C, H, W] (a picture) or [T, C, H, W] (events), as the bundle takes them.

    `id` counts from 0 within a run; `label` is an index into the bundle's class names, None where it is not known.
    """

    id: int
    name: str
    label: int | None
    frames: Frames


@dataclass(frozen=True)
class Unreadable:
    """An input that could not be read, and why."""

    name: str
    reason: str


class Source(Protocol):
    """An iterable of samples. `count` is how many there are, unreadable ones included; None while it is not known.

    `simulated` is true when events were computed from pictures and no camera recorded them.
    """

    count: int | None
    simulated: bool

    def __iter__(self) -> Iterator[Sample | Unreadable]: ...


def open_source(inputs: InputConfig, manifest: Manifest) -> Source:
    """The source that a run asks for.

    Raises:
        SourceError: there are no pictures, no such data set, or it does not fit the bundle.
    """
    if inputs.dataset is not None:
        return DatasetSource(inputs, manifest)
    return PictureSource(inputs, manifest)


class PictureSource:
    """Pictures from files, folders (searched to the bottom) and glob patterns, in the order named.

    A picture's label is the name of the folder that holds it, where that is one of the bundle's class names.
    """

    simulated = False

    def __init__(self, inputs: InputConfig, manifest: Manifest) -> None:
        spec = manifest.network
        if spec.input_kind != "static" or spec.input_shape[0] not in (1, 3):
            raise SourceError(f"bundle {manifest.name} takes recordings of events, no pictures: use --dataset")
        self._paths = find_pictures(inputs.images)[: inputs.limit]
        self._shape = spec.input_shape
        self._labels = {name: index for index, name in enumerate(manifest.class_names)}
        self.count: int | None = len(self._paths)

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        for number, path in enumerate(self._paths):
            try:
                frames = read_picture(path, self._shape)
            except SourceError as error:
                yield Unreadable(str(path), str(error))
            else:
                yield Sample(number, str(path), self._labels.get(path.absolute().parent.name), frames)


class DatasetSource:
    """The test part of a data set, in its own order, read file by file."""

    def __init__(self, inputs: InputConfig, manifest: Manifest) -> None:
        assert inputs.dataset is not None
        info = registry.info(inputs.dataset)
        spec = manifest.network
        self._labels = _labels_in_bundle(info.name, info.classes, manifest)
        _check_fit(info.name, info.kind, info.channels, spec)
        self._request = registry.make_request(
            info.name,
            inputs.data,
            "test",
            size=spec.input_shape[1],
            timesteps=spec.timesteps,
            allow_partial=inputs.allow_partial,
        )
        pieces = registry.list_pieces(self._request)  # says now, not after the connection, that files are missing
        there = len(pieces) if pieces[0].label >= 0 else info.recordings[1]
        self.count: int | None = min(inputs.limit or there, there)
        self.simulated = info.simulated

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        number = 0
        for split in registry.stream(self._request):
            for frames, label in zip(split.frames, split.labels, strict=True):
                if number == self.count:
                    return
                yield Sample(number, f"{self._request.name}/test/{number}", self._labels[int(label)], frames)
                number += 1


def _labels_in_bundle(name: str, classes: tuple[str, ...], manifest: Manifest) -> tuple[int | None, ...]:
    """For each class of the set its index in the bundle."""
    known = {class_name: index for index, class_name in enumerate(manifest.class_names)}
    labels = tuple(known.get(class_name) for class_name in classes)
    if not any(label is not None for label in labels):
        raise SourceError(
            f"data set {name} and bundle {manifest.name} have no class in common "
            f"({classes[0]}, ... against {manifest.class_names[0]}, ...): choose another bundle or set"
        )
    return labels


def _check_fit(name: str, kind: str, channels: int, spec: NetworkSpec) -> None:
    if (kind, channels) != (spec.input_kind, spec.input_shape[0]) or spec.input_shape[1] != spec.input_shape[2]:
        raise SourceError(
            f"data set {name} has {kind} samples of {channels} channels, the bundle takes {spec.input_kind} samples "
            f"of {spec.input_shape}: choose another bundle or set"
        )
