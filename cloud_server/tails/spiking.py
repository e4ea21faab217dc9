"""The tail of the `spiking` execution in plain torch: every neuron steps, and the readout's logits add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cloud_server.config import Precision
from cloud_server.tails.base import StepOutput
from cloud_server.tails.membranes import Membranes, Rows
from cloud_server.tails.torch_device import DTYPES
from shared.bundle import Bundle
from shared.models.inference import inference_form
from shared.models.load import load_cloud
from shared.spike_codec import Spikes


class SpikingTail:
    """The cloud half of a bundle in inference form.

    It turns TF32 off for the whole process: convolutions in float32 on a GPU would read 10 bits of each number.

    Raises:
        BundleError: the tail's file is missing, damaged or does not fit the manifest.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision = "fp32") -> None:
        torch.backends.cudnn.allow_tf32 = False  # by its older name, which every torch from 2.4 on has
        self.device = device
        self.dtype = DTYPES[precision]
        self.network = inference_form(load_cloud(bundle), self.dtype).to(device)
        self.temperature = bundle.settings.temperature
        self._leak = bundle.settings.readout_leak
        self._weights = total_weights(self._leak, bundle.manifest.network.timesteps)

    def slots(self, count: int) -> Membranes:
        return Membranes(self.network, count, self.device, torch.float32)

    def use_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)  # OpenMP keeps this for each thread

    @torch.inference_mode()
    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Rows) -> StepOutput[Rows]:
        spikes = torch.from_numpy(np.stack(frames)).to(self.device)
        return StepOutput(state, self.compute(spikes, self.weights(timesteps), state).cpu().numpy())

    def weights(self, timesteps: Sequence[int]) -> Tensor:
        """What the logits up to these timesteps weigh together, float32 [B, 1] on the device."""
        weights = [self._weights[timestep - 1] for timestep in timesteps]
        return torch.tensor(weights, dtype=torch.float32, device=self.device).unsqueeze(1)

    def compute(self, spikes: Tensor, weights: Tensor, state: Rows) -> Tensor:
        """The step on the device alone.

        Args:
            spikes: uint8 [B, C, H, W].
            weights: of `self.weights`, float32 [B, 1].
            state: overwritten.

        Returns:
            The confidences, float32 [B, classes].
        """
        inputs = spikes.to(self.dtype).contiguous(memory_format=torch.channels_last)
        logits, after = self.network.step(inputs, state.membranes)
        for kept, membrane in zip(state.membranes, after, strict=True):
            assert membrane is kept, "the inference form writes into the state that it is given"
        if self._leak != 1.0:
            state.logits.mul_(self._leak)
        total = state.logits.add_(logits)
        return torch.softmax(total / (weights * self.temperature), dim=1)


def total_weights(leak: float, timesteps: int) -> list[float]:
    """1, 1 + leak, 1 + leak + leak^2, ...: what the readout divides its sum by after each of so many timesteps."""
    weights = [1.0]
    while len(weights) < timesteps:
        weights.append(1.0 + leak * weights[-1])
    return weights
