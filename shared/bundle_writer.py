"""Writing a bundle, whole or in parts; `shared/bundle.py` reads it back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_safetensors

from shared.bundle import MANIFEST, Bundle, Weights
from shared.licences import LICENCE_FILE, Licence, as_metadata, as_text
from shared.manifest import EXTRAS, BundlePart, Extra, Half, LocalExitSpec, Manifest, StoredFile, file_name
from shared.manifest_file import write_manifest
from shared.signatures import SIGNATURES


def write_bundle(
    path: Path, manifest: Manifest, head: Weights, tail: Weights, licences: Sequence[Licence] = ()
) -> Bundle:
    """Write a bundle folder; weights are stored as `as_stored` says. An existing one is replaced, tables and all.

    Args:
        path: of the folder.
        manifest: all but the files and the licences.
        head: the edge's weights by name.
        tail: the cloud's.
        licences: of the weights that these were trained from. Both halves contain them, the manifest names them in
            `provenance.licences`, and `LICENSE.weights` is a copy for people, which no program reads.

    Returns:
        The bundle as `Bundle.open` reads it back.
    """
    path.mkdir(parents=True, exist_ok=True)
    if licences:
        described = [licence.described() for licence in licences]
        manifest = replace(manifest, provenance={**manifest.provenance, "licences": described})
        (path / LICENCE_FILE).write_text(as_text(licences))
    else:
        (path / LICENCE_FILE).unlink(missing_ok=True)
    (path / SIGNATURES).unlink(missing_ok=True)  # of what was there before
    files: dict[BundlePart, StoredFile] = {}
    halves: tuple[tuple[Half, Weights], ...] = (("head", head), ("tail", tail))
    for half, weights in halves:
        raw = save_safetensors({name: as_stored(value) for name, value in weights.items()}, as_metadata(licences))
        (path / file_name(half)).write_bytes(raw)
        files[half] = _stored(half, raw)
    for part in EXTRAS:
        (path / file_name(part)).unlink(missing_ok=True)
    # The manifest comes last: a run that is killed between the files leaves a bundle that does not open.
    (path / MANIFEST).write_bytes(write_manifest(manifest, files))
    return Bundle.open(path)


def write_codec(bundle: Bundle, arrays: Weights) -> Bundle:
    """Write the spike codec's tables for the bundle's execution. They replace those it has.

    Returns:
        The bundle as `Bundle.open` reads it back, with another fingerprint.
    """
    return write_parts(bundle, bundle.manifest, {bundle.own("codec"): _pack(arrays)})


def write_local_exit(bundle: Bundle, spec: LocalExitSpec, weights: Weights, measured: Mapping[str, Any]) -> Bundle:
    """Write a local exit for the bundle's execution. It replaces the one it has.

    Args:
        bundle: the one that is changed.
        spec: for the manifest.
        weights: by name; stored as `as_stored` says.
        measured: its calibration and results, for the execution's `measured["local_exit"]`.

    Returns:
        The bundle as `Bundle.open` reads it back, with another fingerprint.
    """
    settings = bundle.settings
    settings = replace(settings, local_exit=spec, measured={**settings.measured, "local_exit": measured})
    manifest = bundle.manifest.with_execution(bundle.execution, settings)
    packed = _pack({name: as_stored(value) for name, value in weights.items()})
    return write_parts(bundle, manifest, {bundle.own("exit"): packed})


def write_graphs(
    bundle: Bundle, graphs: Mapping[Extra, bytes | None], measured: Mapping[str, Any] | None = None
) -> Bundle:
    """Write ONNX graphs into a bundle. They replace those it has.

    Args:
        bundle: the one that is changed.
        graphs: by part; None removes one.
        measured: joins that of the bundle's execution.

    Returns:
        The bundle as `Bundle.open` reads it back, with another fingerprint.
    """
    settings = replace(bundle.settings, measured={**bundle.settings.measured, **(measured or {})})
    return write_parts(bundle, bundle.manifest.with_execution(bundle.execution, settings), graphs)


def write_parts(bundle: Bundle, manifest: Manifest, parts: Mapping[Extra, bytes | None]) -> Bundle:
    """Write a changed manifest and some parts, None for those to be removed; see `write_graphs`."""
    files = {part: stored for part, stored in bundle.files.items() if part not in parts}
    files.update({part: _stored(part, raw) for part, raw in parts.items() if raw is not None})
    contents = {file_name(part): raw for part, raw in parts.items() if raw is not None}
    for part, stored in files.items():
        if stored.name != file_name(part):  # a file of format version 1 under its older name
            contents[file_name(part)] = (bundle.path / stored.name).read_bytes()
            files[part] = replace(stored, name=file_name(part))
    contents[MANIFEST] = write_manifest(manifest, files)
    # each under a temporary name first: a killed run leaves the old bundle, or for a moment one that does not open
    for name, content in contents.items():
        (bundle.path / f"{name}.partial").write_bytes(content)
    for name in contents:
        (bundle.path / f"{name}.partial").replace(bundle.path / name)
    (bundle.path / SIGNATURES).unlink(missing_ok=True)  # of what it was before
    for name in {stored.name for stored in bundle.files.values()} - {stored.name for stored in files.values()}:
        (bundle.path / name).unlink(missing_ok=True)
    return Bundle.open(bundle.path, bundle.execution)


def _stored(part: BundlePart, raw: bytes) -> StoredFile:
    return StoredFile(file_name(part), hashlib.sha256(raw).hexdigest())


def _pack(arrays: Weights) -> bytes:
    return save_safetensors({name: np.asarray(value, order="C") for name, value in arrays.items()})


def as_stored(value: NDArray[Any]) -> NDArray[Any]:
    """An array as a bundle stores it: floating-point numbers in float16; an array with larger numbers stays as it is.

    (The variance of a first convolution that was trained on pixels of 0 to 255 may exceed 65504.)
    """
    if np.issubdtype(value.dtype, np.floating) and np.abs(value).max(initial=0.0) <= np.finfo(np.float16).max:
        value = value.astype(np.float16)
    return np.asarray(value, order="C")
