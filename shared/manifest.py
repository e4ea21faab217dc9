"""A bundle's manifest: everything about a trained network but its weights, as plain data.

`read_manifest` parses the bytes of `manifest.json`, `write_manifest` writes them. A bundle of format version 1 knew one
execution, `spiking`; it is read as one that has no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from shared.errors import BundleError, ConfigError
from shared.execution import EXECUTIONS, Execution
from shared.exit_policy import NEVER, ExitPolicy
from shared.manifest_checks import check_manifest
from shared.network_spec import NetworkSpec, Shape
from shared.picture_fit import PictureFit
from shared.plain_data import dataclass_from

FORMAT = "neucodex-bundle"
VERSION = 2

Half = Literal["head", "tail"]
Extra = Literal[
    "codec-rate", "codec-spiking", "exit-rate", "exit-spiking",
    "head-embed", "head-step", "head-step-int8", "head-rate", "head-rate-int8", "tail-rate", "tail-rate-int8",
]  # fmt: skip
BundlePart = Half | Extra

HALVES: tuple[Half, ...] = get_args(Half)
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""The parts that a bundle may have besides its weights.

codec-*: the spike codec's tables for one execution, needed on both machines;  exit-*: the weights of the edge's local
exit;  head-embed, head-step, head-step-int8: the spiking head as ONNX graphs, the first convolution and one timestep of
the rest;  head-rate, head-rate-int8: the head that runs once;  tail-rate, tail-rate-int8: the tail on a sum of frames.
"""

_GRAPHS = ("head-", "tail-")


@dataclass(frozen=True)
class Normalisation:
    """What the head expects: (pixel * scale - mean) / std for each channel; pixels are 0..255, events are counts."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LocalExitSpec:
    """The edge's small classifier: its pooling and its calibration.

    `pools` are the sides of the squares over which the mean spikes, and then the features, are averaged. `exit_policy`
    says when the edge may answer with it before anything was sent.
    """

    pools: tuple[int, int]
    temperature: float
    exit_policy: ExitPolicy


@dataclass(frozen=True)
class ExecutionSpec:
    """The settings and measurements of the network in one execution.

    Attributes:
        temperature: divides the logits before the softmax.
        exit_policy: when the edge stops.
        readout_leak: of `spiking`. An answer is read from the mean of the logits so far, in which a timestep weighs
            `readout_leak` times the one after it; 1 weighs all the same.
        head_levels: of `rate`. The activations of the head have values 0, 1/levels, ... 1.
        tail_levels: of `rate`. The same of decoder and tail.
        local_exit: there where the bundle has the part `exit-*` of this execution.
        measured: calibration, accuracies on test samples, the local exit's; for people and for `--lookahead auto`.
    """

    temperature: float
    exit_policy: ExitPolicy
    readout_leak: float = 1.0
    head_levels: int = 8
    tail_levels: int = 8
    local_exit: LocalExitSpec | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but its weights.

    `frame_shape` is the shape of the spikes on the wire, `split_shape` that of the feature map they stand for.
    `executions` are those that the weights can run in, `default_execution` the one that was better on held-out samples.
    `fit` is how a picture gets the network's size. `provenance` says how the bundle came to be (data set, recipe,
    commit, seed); it is for people.
    """

    name: str
    network: NetworkSpec
    frame_shape: Shape
    split_shape: Shape
    class_names: tuple[str, ...]
    normalisation: Normalisation
    executions: Mapping[Execution, ExecutionSpec]
    default_execution: Execution
    provenance: Mapping[str, Any]
    fit: PictureFit = "cut"

    def with_execution(self, execution: Execution, spec: ExecutionSpec) -> Manifest:
        """The same with another description of one execution."""
        return replace(self, executions={**self.executions, execution: spec})


@dataclass(frozen=True)
class StoredFile:
    """A file of a bundle: its name in the folder, and the SHA-256 of its bytes in hexadecimal digits."""

    name: str
    sha256: str


def file_name(part: BundlePart) -> str:
    """The name of the file of a part."""
    return f"{part}.onnx" if part.startswith(_GRAPHS) else f"{part}.safetensors"


def write_manifest(manifest: Manifest, files: Mapping[BundlePart, StoredFile]) -> bytes:
    """The bytes of `manifest.json`."""
    described = asdict(manifest)
    for execution in described["executions"].values():
        if execution["local_exit"] is None:
            del execution["local_exit"]
    values = {
        "format": FORMAT,
        "version": VERSION,
        **described,
        "files": {part: {"sha256": stored.sha256} for part, stored in files.items()},
    }
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def read_manifest(raw: bytes, where: str) -> tuple[Manifest, dict[BundlePart, StoredFile]]:
    """The manifest in the bytes of `manifest.json`, and the files that it names.

    Args:
        raw: the bytes.
        where: names the file in messages.

    Raises:
        BundleError: they describe no bundle, or one of another version of this program.
    """
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is no JSON ({error}); copy the whole folder again") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise BundleError(f"{where} does not describe a {FORMAT}")
    version = values.get("version")
    if version not in (1, VERSION):
        raise BundleError(f"{where} has version {version!r}: this program reads versions 1 and {VERSION}")
    try:
        files = _files(values["files"]) if version == VERSION else _files_of_version_1(values["files"])
        described = {name: value for name, value in values.items() if name not in ("format", "version", "files")}
        if version == 1:
            described = _from_version_1(described)
        _check_names(described["executions"])
        manifest = _certified(dataclass_from(Manifest, described))
    except ConfigError as error:
        raise BundleError(f"{where}: {error}") from None
    except RecursionError:
        raise BundleError(f"{where} is nested too deeply; copy the whole folder again") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BundleError(f"{where} lacks a field, or one has a value of a wrong kind ({error})") from None
    check_manifest(manifest, files, where)
    return manifest, files


def _files(named: Mapping[str, Mapping[str, Any]]) -> dict[BundlePart, StoredFile]:
    parts: tuple[BundlePart, ...] = (*HALVES, *(part for part in EXTRAS if part in named))
    return {part: _stored(named, part, file_name(part)) for part in parts}


def _files_of_version_1(named: Mapping[str, Mapping[str, Any]]) -> dict[BundlePart, StoredFile]:
    """Version 1 called the tables and the local exit `codec` and `exit`."""
    older: dict[BundlePart, str] = {"codec-spiking": "codec", "exit-spiking": "exit"}
    files: dict[BundlePart, StoredFile] = {}
    for part in (*HALVES, *EXTRAS):
        name = older.get(part, part)
        if name in named or part in HALVES:
            files[part] = _stored(named, name, f"{name}.safetensors" if part in older else file_name(part))
    return files


def _stored(named: Mapping[str, Mapping[str, Any]], name: str, file: str) -> StoredFile:
    if name not in named or "sha256" not in named[name]:
        raise ConfigError(f"files.{name}.sha256 is missing")
    return StoredFile(file, str(named[name]["sha256"]))


def _from_version_1(described: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(described)
    provenance = dict(values["provenance"])
    spiking = {name: values.pop(name) for name in ("temperature", "exit_policy")}
    if "local_exit" in values:
        spiking["local_exit"] = values.pop("local_exit")
    spiking["measured"] = {
        name: provenance.pop(name) for name in ("calibration", "test", "local_exit", "int8") if name in provenance
    }
    return {
        **values,
        "executions": {"spiking": spiking},
        "default_execution": "spiking",
        "provenance": provenance,
    }


def _certified(manifest: Manifest) -> Manifest:
    """Versions before wrote a threshold of 1 where none could be certified; they meant never.

    Confidences in float32 reach 1, so samples exited there without a promise.
    """
    executions = {}
    for name, spec in manifest.executions.items():
        local, own = spec.local_exit, spec.measured.get("local_exit")
        if local is not None:
            local = replace(local, exit_policy=_never_unless_promised(local.exit_policy, own))
        policy = _never_unless_promised(spec.exit_policy, spec.measured)
        executions[name] = replace(spec, exit_policy=policy, local_exit=local)
    return replace(manifest, executions=executions)


def _never_unless_promised(policy: ExitPolicy, measured: Any) -> ExitPolicy:
    calibration = measured.get("calibration") if isinstance(measured, Mapping) else None
    promised = isinstance(calibration, Mapping) and calibration.get("promise")
    return replace(policy, threshold=NEVER) if policy.threshold == 1.0 and not promised else policy


def _check_names(executions: Any) -> None:
    if not isinstance(executions, Mapping):
        raise ConfigError("executions must map the name of an execution to its description")
    for name in executions:
        if name not in EXECUTIONS:
            raise ConfigError(f"executions.{name} is not known to this version: {' and '.join(EXECUTIONS)} are")
