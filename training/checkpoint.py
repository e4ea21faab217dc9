"""The state of a stage on disk. It is written completely or not at all, and no code runs when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from shared.errors import ConfigError

FILE = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values. If the run is killed meanwhile, the checkpoint before is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{FILE}.new"
    torch.save(state, temporary)
    temporary.replace(folder / FILE)


def load(folder: Path) -> dict[str, Any] | None:
    """The checkpoint in a folder, or None.

    Raises:
        ConfigError: it is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each kind of damage
        raise ConfigError(f"checkpoint {path} cannot be read ({error}); delete it to train the stage again") from None
    return state
