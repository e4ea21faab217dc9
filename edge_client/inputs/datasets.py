"""The test part of a data set, as samples."""

from __future__ import annotations

from collections.abc import Iterator

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Item, Skip, Source, nothing_done
from shared.datasets import registry
from shared.errors import SourceError
from shared.manifest import Manifest
from shared.network_spec import NetworkSpec


class DatasetSource(Source):
    """The test part of a data set, in its own order, read file by file."""

    def __init__(self, inputs: InputConfig, manifest: Manifest, skip: Skip = nothing_done) -> None:
        assert inputs.dataset is not None
        self._skip = skip
        info = registry.info(inputs.dataset)
        spec = manifest.network
        self._labels = _labels_in_bundle(info.name, info.classes, manifest)
        _check_fit(info.name, info.kind, info.channels, spec)
        self._request = registry.request_for(
            manifest, info.name, inputs.data, "test", binning=inputs.binning, allow_partial=inputs.allow_partial
        )
        pieces = registry.list_pieces(self._request)  # says now, not after the connection, that files are missing
        there = len(pieces) if pieces[0].label >= 0 else info.recordings[1]
        self.count = min(inputs.limit or there, there)
        self.simulated = info.simulated

    def __iter__(self) -> Iterator[Item]:
        number = 0
        for split in registry.stream(self._request):
            for pixels, label in zip(split.frames, split.labels, strict=True):
                name = f"{self._request.name}/test/{number}"
                if not self._skip(name):
                    yield Sample(number, name, self._labels[int(label)], pixels)
                number += 1
                if number == self.count:
                    return


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
