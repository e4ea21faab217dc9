"""A trained model on disk: a folder with `manifest.json`, `head.safetensors` and `tail.safetensors`.

The manifest names the SHA-256 of each file, and the fingerprint is the SHA-256 of the manifest's bytes: a machine that
holds only one half still proves which bundle it belongs to. Nothing is pickled, and no torch is needed to read one.

Other files may be there too (`EXTRAS`): the tables of the spike codec, the local exit, the head for a runtime without
torch. The manifest names their hashes as well, so an edge and a cloud with different ones have different fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from shared.errors import BundleError, ConfigError
from shared.exit_policy import ExitPolicy
from shared.network_spec import NetworkSpec, Shape
from shared.plain_data import build

FORMAT = "neucodex-bundle"
VERSION = 1
MANIFEST = "manifest.json"

Half = Literal["head", "tail"]
Extra = Literal["codec", "exit", "head-embed", "head-step", "head-step-int8"]
Part = Half | Extra
Weights = Mapping[str, NDArray[Any]]

HALVES: tuple[Half, ...] = get_args(Half)
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""What a bundle may hold besides.

codec: the spike codec's tables, needed on both machines;  exit: the weights of the edge's local exit;  head-embed,
head-step: the head as ONNX graphs, the first convolution and all that has state;  head-step-int8: the latter quantised.
"""


@dataclass(frozen=True)
class Normalisation:
    """What the head expects: (pixel * scale - mean) / std for each channel; pixels are 0..255, events are counts."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LocalExitSpec:
    """The small classifier of the edge: how its input and its feature map are pooled, and its own calibration.

    `pools` are the sides of the squares over which the mean spikes, and then the features, are averaged. `exit_policy`
    says when the edge may answer with it before anything was sent.
    """

    pools: tuple[int, int]
    temperature: float
    exit_policy: ExitPolicy


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but its weights.

    `frame_shape` is the shape of the spikes on the wire, `split_shape` that of the feature map they stand for.
    `temperature` divides the mean logits before the softmax. `provenance` says how the bundle came to be (data set,
    recipe, commit, seed, accuracies); it is for people. `local_exit` is there where the part `exit` is.
    """

    name: str
    network: NetworkSpec
    frame_shape: Shape
    split_shape: Shape
    class_names: tuple[str, ...]
    normalisation: Normalisation
    temperature: float
    exit_policy: ExitPolicy
    provenance: Mapping[str, Any]
    local_exit: LocalExitSpec | None = None


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest is read and checked, its weights are read when asked for."""

    path: Path
    manifest: Manifest
    fingerprint: bytes
    digests: Mapping[Part, str]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read and check the manifest of the bundle in folder `path`.

        Raises:
            BundleError: there is none, it is damaged, or another version of this program wrote it.
        """
        try:
            raw = (path / MANIFEST).read_bytes()
        except OSError as error:
            raise BundleError(
                f"no bundle at {path}: cannot read {MANIFEST} ({error.strerror}); "
                "name a folder such as models/resnet18-digits"
            ) from None
        manifest, digests = _parse(raw, path)
        return cls(path, manifest, hashlib.sha256(raw).digest(), digests)

    def weights(self, half: Half) -> Weights:
        """The parameters of one half by name, as they are on disk.

        Raises:
            BundleError: the file is missing, or is not the one that the manifest names.
        """
        return self._arrays(half)

    def has(self, part: Part) -> bool:
        """Whether the manifest names that part."""
        return part in self.digests

    def codec_arrays(self) -> Weights | None:
        """The tables of the spike codec by name, or None for a bundle without; `CodecTables` checks them.

        Raises:
            BundleError: the manifest names them, and the file is missing or another.
        """
        return self._arrays("codec") if self.has("codec") else None

    def local_exit_weights(self) -> Weights | None:
        """The weights of the local exit by name, or None for a bundle without.

        Raises:
            BundleError: the manifest names them, and the file is missing or another.
        """
        return self._arrays("exit") if self.has("exit") else None

    def graph(self, part: Extra) -> bytes | None:
        """A part that is an ONNX graph, or None for a bundle without.

        Raises:
            BundleError: the manifest names it, and the file is missing or another.
        """
        return self._read(part) if self.has(part) else None

    def _arrays(self, part: Part) -> Weights:
        raw = self._read(part)
        try:
            return load_safetensors(raw)
        except (SafetensorError, ValueError) as error:
            raise BundleError(f"bundle {self.path}: {file_name(part)} is no safetensors file ({error})") from None

    def _read(self, part: Part) -> bytes:
        file = self.path / file_name(part)
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise BundleError(f"bundle {self.path}: cannot read {file.name} ({error.strerror})") from None
        if hashlib.sha256(raw).hexdigest() != self.digests[part]:
            raise BundleError(
                f"bundle {self.path}: {file.name} is not the file its manifest names (damaged or from another bundle); "
                "copy the whole folder anew"
            )
        return raw


def write_bundle(path: Path, manifest: Manifest, head: Weights, tail: Weights) -> Bundle:
    """Write a bundle folder; floating-point weights are stored as float16. An existing one is replaced, tables and all.

    Returns:
        The bundle as `Bundle.open` reads it back.
    """
    path.mkdir(parents=True, exist_ok=True)
    digests: dict[Part, str] = {}
    halves: tuple[tuple[Half, Weights], ...] = (("head", head), ("tail", tail))
    for half, weights in halves:
        raw = save_safetensors({name: _on_disk(value) for name, value in weights.items()})
        (path / file_name(half)).write_bytes(raw)
        digests[half] = hashlib.sha256(raw).hexdigest()
    for part in EXTRAS:
        (path / file_name(part)).unlink(missing_ok=True)
    # The manifest comes last: a run that is killed between the files leaves a bundle that does not open.
    (path / MANIFEST).write_text(_to_text(manifest, digests))
    return Bundle.open(path)


def write_codec(bundle: Bundle, arrays: Weights) -> Bundle:
    """Write the spike codec's tables into a bundle, in place of those it may have. It gets another fingerprint by it.

    Returns:
        The bundle as `Bundle.open` reads it back.
    """
    return _write_parts(bundle, bundle.manifest, {"codec": _pack(arrays)})


def write_local_exit(bundle: Bundle, spec: LocalExitSpec, weights: Weights, provenance: Mapping[str, Any]) -> Bundle:
    """Write a local exit into a bundle, in place of the one it may have; it gets another fingerprint by it.

    Args:
        bundle: gets it.
        spec: for the manifest.
        weights: by name; floating-point ones are stored as float16.
        provenance: how it came to be, for the manifest's `provenance["local_exit"]`.

    Returns:
        The bundle as `Bundle.open` reads it back.
    """
    manifest = replace(
        bundle.manifest, local_exit=spec, provenance={**bundle.manifest.provenance, "local_exit": provenance}
    )
    return _write_parts(bundle, manifest, {"exit": _pack({name: _on_disk(value) for name, value in weights.items()})})


def write_graphs(
    bundle: Bundle, graphs: Mapping[Extra, bytes | None], provenance: Mapping[str, Any] | None = None
) -> Bundle:
    """Write ONNX graphs into a bundle, in place of those it may have; it gets another fingerprint by it.

    Args:
        bundle: gets them.
        graphs: by part; None removes one.
        provenance: of them, joins the manifest's.

    Returns:
        The bundle as `Bundle.open` reads it back.
    """
    manifest = replace(bundle.manifest, provenance={**bundle.manifest.provenance, **(provenance or {})})
    return _write_parts(bundle, manifest, graphs)


def file_name(part: Part) -> str:
    """The name of the file that holds a part."""
    return f"{part}.onnx" if part.startswith("head-") else f"{part}.safetensors"


def _write_parts(bundle: Bundle, manifest: Manifest, parts: Mapping[Extra, bytes | None]) -> Bundle:
    digests = {part: digest for part, digest in bundle.digests.items() if part not in parts}
    digests.update({part: hashlib.sha256(raw).hexdigest() for part, raw in parts.items() if raw is not None})
    contents = {file_name(part): raw for part, raw in parts.items() if raw is not None}
    contents[MANIFEST] = _to_text(manifest, digests).encode()
    # Each beside its place first: a run that is killed leaves the old bundle, or for a moment one that does not open.
    for name, content in contents.items():
        (bundle.path / f"{name}.partial").write_bytes(content)
    for name in contents:
        (bundle.path / f"{name}.partial").replace(bundle.path / name)
    for part in parts.keys() - digests.keys():
        (bundle.path / file_name(part)).unlink(missing_ok=True)
    return Bundle.open(bundle.path)


def _pack(arrays: Weights) -> bytes:
    return save_safetensors({name: np.asarray(value, order="C") for name, value in arrays.items()})


def _on_disk(value: NDArray[Any]) -> NDArray[Any]:
    stored = value.astype(np.float16) if np.issubdtype(value.dtype, np.floating) else value
    return np.asarray(stored, order="C")


def _to_text(manifest: Manifest, digests: Mapping[Part, str]) -> str:
    described = asdict(manifest)
    if manifest.local_exit is None:
        del described["local_exit"]  # so that a bundle without one keeps the bytes, and the fingerprint, that it had
    values = {
        "format": FORMAT,
        "version": VERSION,
        **described,
        "files": {part: {"sha256": digest} for part, digest in digests.items()},
    }
    return json.dumps(values, indent=2, sort_keys=True) + "\n"


def _parse(raw: bytes, path: Path) -> tuple[Manifest, dict[Part, str]]:
    where = f"bundle {path}: {MANIFEST}"
    try:
        values = json.loads(raw)
    except ValueError as error:
        raise BundleError(f"{where} is no JSON ({error}); copy the whole folder anew") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f"{where} does not describe a {FORMAT}")
    if values.get("version") != VERSION:
        raise BundleError(f"{where} has version {values.get('version')!r}: this program reads version {VERSION}")
    try:
        parts: tuple[Part, ...] = (*HALVES, *(part for part in EXTRAS if part in values["files"]))
        digests = {part: str(values["files"][part]["sha256"]) for part in parts}
        described = {name: value for name, value in values.items() if name not in ("format", "version", "files")}
        manifest = build(Manifest, described)
    except ConfigError as error:
        raise BundleError(f"{where}: {error}") from None
    except (KeyError, TypeError) as error:
        raise BundleError(f"{where} does not name its files ({error})") from None
    network = manifest.network
    if len(manifest.class_names) != network.classes:
        raise BundleError(f"{where} names {len(manifest.class_names)} classes, its network has {network.classes}")
    channels = network.input_shape[0]
    if {len(manifest.normalisation.mean), len(manifest.normalisation.std)} != {channels}:
        raise BundleError(f"{where}: normalisation.mean and .std must have {channels} values, one for each channel")
    if not manifest.temperature > 0.0:
        raise BundleError(f"{where}: temperature is {manifest.temperature}, it must be positive")
    _check_local_exit(manifest.local_exit, "exit" in digests, where)
    return manifest, digests


def _check_local_exit(spec: LocalExitSpec | None, has_weights: bool, where: str) -> None:
    if (spec is not None) != has_weights:
        raise BundleError(f"{where} has only one of local_exit and files.exit; copy the whole folder anew")
    if spec is not None and not (spec.temperature > 0.0 and min(spec.pools) > 0):
        raise BundleError(
            f"{where}: local_exit.temperature is {spec.temperature}, pools {spec.pools}: must be positive"
        )
