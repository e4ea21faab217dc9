"""One bundle's tail on its device, stepped for a batch of samples that may be at different timesteps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloud_server.config import Device, Precision
from cloud_server.tails.state_slots import Rows, StateSlots
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.models.inference import inference_form
from shared.models.load import load_cloud
from shared.spike_codec import Spikes

Confidences = NDArray[np.float32]
"""[B, classes], each row sums to 1."""

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Stepped:
    """What a step gives before anything is committed."""

    state: Rows
    confidences: Confidences


class Tail:
    """The cloud half of a bundle in inference form. Belongs to the engine's thread.

    It turns TF32 off for the whole process: convolutions in float32 on a GPU would read 10 bits of each number.

    Raises:
        BundleError: the tail's file is missing, damaged or does not fit the manifest.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision = "fp32") -> None:
        torch.backends.cudnn.allow_tf32 = False  # by its older name, which every torch from 2.4 on has
        self.device = device
        self.dtype = DTYPES[precision]
        self.network = inference_form(load_cloud(bundle), self.dtype).to(device)
        self.temperature = bundle.manifest.temperature

    def slots(self, count: int) -> StateSlots:
        """State for `count` samples in flight."""
        return StateSlots(self.network, count, self.device, torch.float32)

    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Rows) -> Stepped:
        """One timestep of each sample.

        Args:
            frames: decoded spikes [C, H, W], one frame for each sample.
            timesteps: which timestep, 1..T, each frame is.
            state: of the samples before it; it is overwritten.
        """
        spikes = torch.from_numpy(np.stack(frames)).to(self.device)
        counts = torch.tensor(timesteps, dtype=torch.float32, device=self.device).unsqueeze(1)
        return Stepped(state, self.compute(spikes, counts, state).cpu().numpy())

    def compute(self, spikes: Tensor, counts: Tensor, state: Rows) -> Tensor:
        """The step on the device alone: spikes uint8 [B, C, H, W], timesteps float32 [B, 1], a state to overwrite.

        Returns:
            The confidences, float32 [B, classes].
        """
        inputs = spikes.to(self.dtype).contiguous(memory_format=torch.channels_last)
        logits, after = self.network.step(inputs, state.membranes)
        for kept, membrane in zip(state.membranes, after, strict=True):
            assert membrane is kept, "the inference form writes into the state that it is given"
        total = state.logits.add_(logits)
        return torch.softmax(total / (counts * self.temperature), dim=1)


def buckets(max_batch: int) -> tuple[int, ...]:
    """The batch sizes that are made ready beforehand: powers of two, and `max_batch` itself."""
    sizes = [1]
    while sizes[-1] * 2 < max_batch:
        sizes.append(sizes[-1] * 2)
    return (*sizes, max_batch) if max_batch > 1 else (1,)


def torch_device(device: Device) -> torch.device:
    """The accelerator by its name on the command line.

    Raises:
        ConfigError: this machine, or this build of torch, has none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: torch finds no CUDA device here; use --device cpu, or a CUDA build of torch")
    return torch.device(device)
