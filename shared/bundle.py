"""A trained model on disk: a folder with a manifest, the weights of head and tail, and derived files.

The manifest (`shared/manifest.py`) names the SHA-256 of each file, and the fingerprint is the SHA-256 of the manifest's
bytes: a machine that has only one half can still prove which bundle it belongs to. Nothing is pickled, and no torch is
needed to read one.
"""

from __future__ import annotations

import errno
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from shared.errors import BundleError, ConfigError
from shared.execution import Execution
from shared.licences import Licence, read_licences
from shared.manifest import (
    BundlePart,
    ExecutionSpec,
    Extra,
    Half,
    Manifest,
    StoredFile,
)
from shared.manifest_file import read_manifest
from shared.signatures import check_signed

MANIFEST = "manifest.json"
MANIFEST_LIMIT = 1 << 24
"""Bytes."""

VARIANCE = "running_var"
"""How the name of a batch normalisation's variance ends; its root is computed with."""

FILE_LIMIT = 1 << 31
"""Bytes of a part: an ONNX file has no more, and no weights that ship come near it."""

Weights = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, seen through one of its executions: tables and local exit are those of `execution`.

    The manifest is read and checked, weights are read when asked for.
    """

    path: Path
    manifest: Manifest
    fingerprint: bytes
    files: Mapping[BundlePart, StoredFile]
    execution: Execution

    @classmethod
    def open(cls, path: Path, execution: Execution | None = None, trust: Sequence[Path] = ()) -> Bundle:
        """Read and check the manifest of the bundle in folder `path`.

        Args:
            path: of the folder.
            execution: the one to run; None for the bundle's default.
            trust: files with public keys, of which one must have signed the bundle; none: anybody's will do.

        Raises:
            BundleError: there is no bundle, it is damaged, another version of this program wrote it, or it is not
                signed by a key that is trusted.
            ConfigError: it has no such execution, or a key cannot be read.
        """
        try:
            _check_file(path / MANIFEST)
            with (path / MANIFEST).open("rb") as file:
                raw = file.read(MANIFEST_LIMIT + 1)
        except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
            raise BundleError(
                f"no bundle at {path}: cannot read {MANIFEST} ({getattr(error, 'strerror', None) or error}); "
                "name a folder such as models/resnet18-digits"
            ) from None
        if len(raw) > MANIFEST_LIMIT:
            raise BundleError(f"bundle {path}: {MANIFEST} is longer than {MANIFEST_LIMIT} bytes; copy the folder again")
        fingerprint = hashlib.sha256(raw).digest()
        if trust:  # before anything is made of the contents
            check_signed(path, fingerprint, trust)
        manifest, files = read_manifest(raw, f"bundle {path}: {MANIFEST}")
        bundle = cls(path, manifest, fingerprint, files, manifest.default_execution)
        return bundle if execution is None else bundle.run_as(execution)

    def run_as(self, execution: Execution) -> Bundle:
        """The same bundle seen through another execution.

        Raises:
            ConfigError: it has no such execution.
        """
        if execution not in self.manifest.executions:
            raise ConfigError(
                f"bundle {self.path} has no execution {execution!r}, only {', '.join(self.manifest.executions)}: give "
                f"it one with `neucodex-train executions --bundle {self.path}`, or choose another --execution"
            )
        return replace(self, execution=execution)

    @property
    def settings(self) -> ExecutionSpec:
        """The settings of the chosen execution."""
        return self.manifest.executions[self.execution]

    def weights(self, half: Half) -> Weights:
        """The parameters of one half by name, as they are on disk.

        Raises:
            BundleError: the file is missing, or is not the one that the manifest names.
        """
        return self._arrays(half)

    def licences(self) -> tuple[Licence, ...]:
        """The licences of other people's weights that these were trained from. Both halves contain them; the head's are
        read.

        Raises:
            BundleError: the file is missing, is a different one, or its licence entry is damaged.
        """
        raw = self._read("head")
        try:
            return read_licences(io.BytesIO(raw))
        except ConfigError as error:
            raise BundleError(f"bundle {self.path}: {self.files['head'].name}: {error}") from None

    def has(self, part: BundlePart) -> bool:
        """Whether the manifest names that part."""
        return part in self.files

    def check_files(self) -> None:
        """Make sure that every file is there, and the one that the manifest names.

        Raises:
            BundleError: one is not.
        """
        for part in self.files:
            self._read(part)

    def codec_arrays(self) -> Weights | None:
        """The tables of the spike codec by name, or None for a bundle without; `CodecTables` checks them.

        Raises:
            BundleError: the manifest names them, and the file is missing or another.
        """
        return self._own_arrays("codec")

    def local_exit_weights(self) -> Weights | None:
        """The weights of the local exit by name, or None for a bundle without.

        Raises:
            BundleError: the manifest names them, and the file is missing or another.
        """
        return self._own_arrays("exit")

    def graph(self, part: Extra) -> bytes | None:
        """A part that is an ONNX graph, or None for a bundle without.

        Raises:
            BundleError: the manifest names it, and the file is missing or another.
        """
        return self._read(part) if self.has(part) else None

    def own(self, kind: str) -> Extra:
        """The part of that kind, `codec` or `exit`, which belongs to the chosen execution."""
        return cast(Extra, f"{kind}-{self.execution}")

    def _own_arrays(self, kind: str) -> Weights | None:
        part = self.own(kind)
        return self._arrays(part) if self.has(part) else None

    def _arrays(self, part: BundlePart) -> Weights:
        raw, name = self._read(part), self.files[part].name
        try:
            arrays = load_safetensors(raw)
        except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BundleError(f"bundle {self.path}: {name} is no safetensors file ({error})") from None
        for key, value in arrays.items():
            if np.issubdtype(value.dtype, np.floating) and not _finite(value):
                raise BundleError(f"bundle {self.path}: {name}: {key} holds numbers that are not finite")
            if key.endswith(VARIANCE) and value.size and value.min() < 0:
                raise BundleError(f"bundle {self.path}: {name}: {key} is a variance, and below 0")
        return arrays

    def _read(self, part: BundlePart) -> bytes:
        stored = self.files[part]
        try:
            _check_file(self.path / stored.name)
            raw = (self.path / stored.name).read_bytes()
        except MemoryError:
            raise BundleError(f"bundle {self.path}: {stored.name} needs more memory than there is") from None
        except OSError as error:
            raise BundleError(f"bundle {self.path}: cannot read {stored.name} ({error.strerror})") from None
        if hashlib.sha256(raw).hexdigest() != stored.sha256:
            raise BundleError(
                f"bundle {self.path}: {stored.name} is not the file its manifest names (damaged or from another "
                "bundle); copy the whole folder again"
            )
        return raw


def _check_file(path: Path) -> None:
    """Raises OSError for a pipe or a device, which has no end, and for a file of a size that no part has."""
    found = path.stat()
    if not S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no file")
    if found.st_size > FILE_LIMIT:
        raise OSError(errno.EFBIG, f"it is longer than {FILE_LIMIT} bytes")


def _finite(value: NDArray[Any]) -> bool:
    """Whether all are finite as the float32 that is computed with."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value.astype(np.float32) if value.itemsize > 4 else value).all())
