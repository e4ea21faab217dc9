"""A bundle's manifest as the bytes of `manifest.json`, and back.

A bundle of format version 1 knew one execution, `spiking`; it is read as one that has no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from shared.errors import BundleError, ConfigError
from shared.execution import EXECUTIONS
from shared.exit_policy import NEVER, ExitPolicy
from shared.manifest import EXTRAS, HALVES, BundlePart, Manifest, StoredFile, file_name
from shared.manifest_checks import check_manifest
from shared.plain_data import dataclass_from

FORMAT = "neucodex-bundle"
VERSION = 2


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
        values = json.loads(raw, object_pairs_hook=_each_once)
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


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. A field that is there twice would be read in one way here and in another elsewhere."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a field is there twice: {next(name for name in names if names.count(name) > 1)[:80]}")
    return values


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
