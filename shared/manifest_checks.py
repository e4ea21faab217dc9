"""What must be true of a manifest's values before anything is allocated or computed with them."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import BundleError
from shared.execution import Execution, why_not_rate
from shared.manifest import BundlePart, ExecutionSpec, LocalExitSpec, Manifest, StoredFile
from shared.operations import frame_shape, split_shape

TEMPERATURES = (1e-6, 1e6)
"""The softmax of float32 logits has finite values within it."""

LARGEST = 1e30
"""Of a number of the normalisation, which is computed in float32; one over it is the smallest."""

POOL_LIMIT = 4096
"""The longest side of a square that a local exit averages over."""


def check_manifest(manifest: Manifest, files: Mapping[BundlePart, StoredFile], where: str) -> None:
    """Whether the parts fit each other and all numbers can be computed with.

    Args:
        manifest: built from the file.
        files: that it names.
        where: names the file in messages.

    Raises:
        BundleError: they do not; the field is named.
    """
    network = manifest.network
    if len(manifest.class_names) != network.classes:
        raise BundleError(f"{where} names {len(manifest.class_names)} classes, its network has {network.classes}")
    if not all(_is_text(name) for name in (manifest.name, *manifest.class_names)):
        raise BundleError(f"{where}: name and class_names must be Unicode text")
    for field, found, expected in (
        ("split_shape", manifest.split_shape, split_shape(network)),
        ("frame_shape", manifest.frame_shape, frame_shape(network)),
    ):
        if found != expected:
            raise BundleError(f"{where}: {field} is {found}, that of its network is {expected}")
    _check_normalisation(manifest, where)
    if manifest.default_execution not in manifest.executions:
        raise BundleError(f"{where}: default_execution is {manifest.default_execution!r}, which is not in executions")
    for execution, spec in manifest.executions.items():
        _check_execution(execution, spec, manifest, files, f"{where}: executions.{execution}")


def _check_normalisation(manifest: Manifest, where: str) -> None:
    normalisation, channels = manifest.normalisation, manifest.network.input_shape[0]
    if {len(normalisation.mean), len(normalisation.std)} != {channels}:
        raise BundleError(f"{where}: normalisation.mean and .std must have {channels} values, one for each channel")
    if not all(abs(value) <= LARGEST for value in normalisation.mean):
        raise BundleError(f"{where}: normalisation.mean is {normalisation.mean}: it must be finite")
    for field, values in (("scale", (normalisation.scale,)), ("std", normalisation.std)):
        if not all(1 / LARGEST <= value <= LARGEST for value in values):
            raise BundleError(f"{where}: normalisation.{field} is {values}: it must be positive and finite")


def _check_execution(
    execution: Execution, spec: ExecutionSpec, manifest: Manifest, files: Mapping[BundlePart, StoredFile], where: str
) -> None:
    if execution == "rate" and (reason := why_not_rate(manifest.network)):
        raise BundleError(f"{where} is not possible: {reason}")
    _check_temperature(spec.temperature, where)
    if not 0.0 <= spec.readout_leak <= 1.0:
        raise BundleError(f"{where}.readout_leak is {spec.readout_leak}, it must lie in 0..1")
    if not (1 <= spec.head_levels <= 255 and 1 <= spec.tail_levels <= 255):
        raise BundleError(f"{where}: head_levels and tail_levels must lie in 1..255")
    part: BundlePart = f"exit-{execution}"  # type: ignore[assignment]
    if (spec.local_exit is not None) != (part in files):
        raise BundleError(f"{where}.local_exit and files.{part}: one is there without the other; copy the folder again")
    if spec.local_exit is not None:
        _check_local_exit(spec.local_exit, f"{where}.local_exit")


def _check_local_exit(spec: LocalExitSpec, where: str) -> None:
    _check_temperature(spec.temperature, where)
    if len(spec.pools) != 2 or not all(1 <= pool <= POOL_LIMIT for pool in spec.pools):
        raise BundleError(f"{where}.pools is {spec.pools}: two numbers in 1..{POOL_LIMIT}")


def _check_temperature(temperature: float, where: str) -> None:
    low, high = TEMPERATURES
    if not low <= temperature <= high:
        raise BundleError(f"{where}.temperature is {temperature}, it must lie in {low:g}..{high:g}")


def _is_text(name: str) -> bool:
    """JSON can hold half of a surrogate pair, which is no character and cannot be written."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
