"""Reads weights files of other frameworks as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shared.errors import ConfigError

StateDict = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Under which of a checkpoint's entries the weights are, where they are not the checkpoint itself."""


def read_state(path: Path) -> StateDict:
    """The floating-point tensors in a file, float32, by the names that the file has for them.

    `.safetensors` and `.onnx` (its initializers) by their suffix, everything else as torch.save wrote it; of that only
    tensors and plain values are read, never code.

    Raises:
        ConfigError: the file is missing, or is none of these.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is no file")
    try:
        if path.suffix == ".safetensors":
            values: Mapping[str, Any] = load_file(path)
        elif path.suffix == ".onnx":
            values = _initializers(path)
        else:
            values = _unwrapped(torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, OSError, ConfigError) as error:
        raise ConfigError(f"{path} is no weights file ({error})") from None
    except Exception as error:  # torch and onnx raise a different type for each kind of damage
        raise ConfigError(f"{path} is no weights file, or holds more than weights ({error})") from None
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.is_floating_point()}
    return {name.removeprefix("module."): value.detach().float() for name, value in tensors.items()}


def _unwrapped(values: Any) -> Mapping[str, Any]:
    for name in WRAPPERS:
        if isinstance(values, Mapping) and isinstance(values.get(name), Mapping):
            values = values[name]
    if not isinstance(values, Mapping):
        raise ConfigError(f"it holds a {type(values).__name__}, not tensors by name")
    return values


def _initializers(path: Path) -> StateDict:
    import onnx  # noqa: PLC0415  only files of this kind need it

    graph = onnx.load(str(path)).graph
    return {value.name: torch.from_numpy(onnx.numpy_helper.to_array(value).copy()) for value in graph.initializer}
