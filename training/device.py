"""The device, precision and ranks of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from shared.errors import ConfigError


@dataclass(frozen=True)
class Machine:
    """The machine of one process of a run: its device, whether it trains in bfloat16, its rank under torchrun, and how
    often it saves a checkpoint (it always saves one at the end of an epoch).
    """

    device: torch.device
    bfloat16: bool
    rank: int = 0
    world: int = 1
    checkpoint_seconds: float = 240.0

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """The precision of forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)


@contextmanager
def machine(
    device: str = "auto", precision: str = "auto", threads: int | None = None, checkpoint_seconds: float = 240.0
) -> Iterator[Machine]:
    """Set this process up to compute; under torchrun it joins the other ranks (nccl on CUDA, gloo on CPU).

    float32 is float32 on a GPU too, as in the deployed pair: convolutions in TF32 are turned off.

    Args:
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        precision: "fp32", "bf16", or "auto" for bf16 where the hardware multiplies it natively. (A CPU without
            AVX-512 BF16 or AMX emulates it about ten times slower than float32.)
        threads: CPU threads; None leaves the number to PyTorch.
        checkpoint_seconds: how much work a killed run may lose, in seconds.

    Raises:
        ConfigError: CUDA was chosen, and there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: this PyTorch sees no CUDA device; use --device cpu")
    chosen = "cuda" if device == "auto" and torch.cuda.is_available() else device if device != "auto" else "cpu"
    torch.backends.cudnn.allow_tf32 = False  # by its older name, which every torch from 2.4 on has
    if threads is not None:
        torch.set_num_threads(threads)
    bfloat16 = precision == "bf16" or (precision == "auto" and _native_bfloat16(chosen))
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Machine(torch.device(chosen), bfloat16, checkpoint_seconds=checkpoint_seconds)
        return
    dist.init_process_group("nccl" if chosen == "cuda" else "gloo")
    try:
        local = int(os.environ["LOCAL_RANK"])
        where = torch.device(chosen, local) if chosen == "cuda" else torch.device(chosen)
        if chosen == "cuda":
            torch.cuda.set_device(where)
        yield Machine(where, bfloat16, dist.get_rank(), world, checkpoint_seconds)
    finally:
        dist.destroy_process_group()


def _native_bfloat16(device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
