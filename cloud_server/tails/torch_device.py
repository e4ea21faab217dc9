"""torch's device and dtypes, by the names of the command line."""

from __future__ import annotations

import torch

from cloud_server.config import Device, Precision
from shared.errors import ConfigError

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_device(device: Device) -> torch.device:
    """The device with this name on the command line.

    Raises:
        ConfigError: torch finds no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu, or a CUDA build of torch")
    return torch.device(device)
