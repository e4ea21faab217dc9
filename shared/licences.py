"""Licences of other people's weights. Every weights file that was trained from those contains them.

A safetensors file has them in its metadata, a bundle in both halves. `LICENSE.weights` is a copy for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from shared.errors import ConfigError
from shared.plain_data import dataclass_from

LICENCE_FILE = "LICENSE.weights"

_KEY = "licences"
"""One key for all: safetensors writes several in any order, and the same weights would then differ in their bytes."""

Origin = Literal["weights", "teacher"]


@dataclass(frozen=True)
class Licence:
    """The licence of another network that a network was trained from.

    source: the other network, for people: its name and where it comes from.
    text: of its licence, whole.
    of: `weights` that ours began with, or a `teacher`, whose answers ours was trained towards.
    """

    source: str
    text: str
    of: Origin = "weights"

    def __post_init__(self) -> None:
        if not self.source.strip() or not self.text.strip():
            raise ConfigError("a licence needs a source and a text")
        if self.of not in get_args(Origin):
            raise ConfigError(f"a licence is of {self.of!r}: one of {', '.join(get_args(Origin))}")

    @classmethod
    def read(cls, path: Path, source: str, of: Origin = "weights") -> Licence:
        """Read a licence's text from a file.

        Raises:
            ConfigError: the file cannot be read, or is empty.
        """
        try:
            return cls(source, path.read_text(), of)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the licence {path} ({error})") from None

    @property
    def name(self) -> str:
        """The first line of the text, with the version that may stand below it."""
        first, *rest = [line.strip() for line in self.text.splitlines() if line.strip()]
        return f"{first}, {rest[0]}" if rest and rest[0].startswith("Version") else first

    def described(self) -> dict[str, str]:
        """For a manifest: all but the text, of which the SHA-256 stands there."""
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        return {"of": self.of, "source": self.source, "licence": self.name, "sha256": digest}


def united(*groups: Iterable[Licence]) -> tuple[Licence, ...]:
    """All of them in their order, each once."""
    return tuple(dict.fromkeys(licence for group in groups for licence in group))


def as_metadata(licences: Iterable[Licence]) -> dict[str, str] | None:
    """The metadata of a safetensors file with them; None for none."""
    values = [asdict(licence) for licence in licences]
    return {_KEY: json.dumps(values)} if values else None


def read_licences(file: BinaryIO) -> tuple[Licence, ...]:
    """The licences in a safetensors file. Only its header is read.

    Raises:
        ConfigError: the file has no such header, or other metadata under our key.
    """
    try:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        metadata: Mapping[str, str] = header.get("__metadata__", {})
        return tuple(dataclass_from(Licence, values) for values in json.loads(metadata.get(_KEY, "[]")))
    except (ValueError, AttributeError, TypeError, OverflowError, MemoryError) as error:
        raise ConfigError(f"the header with the licences cannot be read ({error})") from None


def as_text(licences: Iterable[Licence]) -> str:
    """The text of `LICENSE.weights`."""
    roles = {"weights": "These weights were made from those of", "teacher": "These weights were trained by answers of"}
    return "\n".join(f"{roles[licence.of]}\n{licence.source}\n\n{licence.text.strip()}\n" for licence in licences)
