"""Manifests without weights, for what only reads the manifest."""

from __future__ import annotations

from pathlib import Path

from shared.bundle import Bundle
from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec, Manifest, Normalisation
from shared.network_spec import InputKind, NetworkSpec, Shape


def manifest(
    input_shape: Shape = (1, 16, 16),
    class_names: tuple[str, ...] = tuple("0123456789"),
    input_kind: InputKind = "static",
    timesteps: int = 4,
) -> Manifest:
    spec = NetworkSpec("resnet18", input_shape, len(class_names), "layer1", 4, timesteps, input_kind=input_kind)
    return Manifest(
        name="paper",
        network=spec,
        frame_shape=(1, 8, 8),
        split_shape=(16, 32, 32),
        class_names=class_names,
        normalisation=Normalisation(1 / 255, (0.5,) * input_shape[0], (0.25,) * input_shape[0]),
        executions={"spiking": ExecutionSpec(1.0, ExitPolicy())},
        default_execution="spiking",
        provenance={},
    )


def bundle_without_files(of: Manifest) -> Bundle:
    """A bundle with this manifest in its default execution, for what asks for no weights."""
    return Bundle(Path("paper"), of, bytes(32), {}, of.default_execution)
