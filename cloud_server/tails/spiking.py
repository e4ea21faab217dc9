"""The tail of the `spiking` execution in plain torch: it steps every neuron and sums the logits of the readout."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cloud_server.config import Precision
from cloud_server.tails.base import StepOutput, total_weights
from cloud_server.tails.membranes import MembraneSlots, SpikingState
from cloud_server.tails.torch_device import DTYPES
from shared.bundle import Bundle
from shared.models.inference import inference_form
from shared.models.layers import State
from shared.models.load import load_cloud
from shared.models.split import CloudNetwork
from shared.spike_codec import Spikes

Compute = Callable[[Tensor, Tensor, State, Tensor], Tensor]
"""What a step runs on the device: `SpikingStep.forward`, or what stands around it."""


class SpikingStep(nn.Module):
    """The part of a step that runs on the device.

    Args:
        network: in inference form.
        dtype: of its convolutions and the spikes between them.
        leak: share of the sum of logits that is left after a timestep.
        temperature: divides the mean logits.
    """

    def __init__(self, network: CloudNetwork, dtype: torch.dtype, leak: float, temperature: float) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype
        self._leak = leak
        self._temperature = temperature

    def forward(self, spikes: Tensor, weights: Tensor, membranes: State, logits: Tensor) -> Tensor:
        """Step a batch; membranes and logits are overwritten.

        Args:
            spikes: uint8 [B, C, H, W].
            weights: from `SpikingTail.weights`, float32 [B, 1].
            membranes: of the samples' `SpikingState`.
            logits: of the same.

        Returns:
            The confidences, float32 [B, classes].
        """
        inputs = spikes.to(self._dtype).contiguous(memory_format=torch.channels_last)
        added, after = self.network.step(inputs, membranes)
        for kept, membrane in zip(membranes, after, strict=True):
            assert membrane is kept, "the inference form overwrites its state"
        if self._leak != 1.0:
            logits.mul_(self._leak)
        total = logits.add_(added)
        return torch.softmax(total / (weights * self._temperature), dim=1)


class SpikingTail:
    """The cloud half of a bundle in inference form.

    It turns TF32 off for the whole process: with TF32, float32 convolutions on a GPU read only 10 bits of a mantissa.

    Args:
        bundle: opened in the `spiking` execution.
        device: what it runs on.
        precision: of the convolutions and the spikes between them.

    Raises:
        BundleError: the tail's file is missing, damaged or does not fit the manifest.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision = "fp32") -> None:
        torch.backends.cudnn.allow_tf32 = False  # the older name of the setting, which every torch since 2.4 has
        self.device = device
        self.dtype = DTYPES[precision]
        self.network = inference_form(load_cloud(bundle), self.dtype).to(device)
        leak = bundle.settings.readout_leak
        self._weights = total_weights(leak, bundle.manifest.network.timesteps)
        self.compute = self._prepare(SpikingStep(self.network, self.dtype, leak, bundle.settings.temperature))

    def slots(self, count: int) -> MembraneSlots:
        return MembraneSlots(self.network, count, self.device, torch.float32)

    def use_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)  # OpenMP keeps this setting for each calling thread

    def _prepare(self, step: SpikingStep) -> Compute:
        """What runs the step: here the step itself."""
        return step

    @torch.inference_mode()
    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: SpikingState) -> StepOutput[SpikingState]:
        spikes = torch.from_numpy(np.stack(frames)).to(self.device)
        confidences = self.compute(spikes, self.weights(timesteps), state.membranes, state.logits)
        return StepOutput(state, confidences.cpu().numpy())

    def weights(self, timesteps: Sequence[int]) -> Tensor:
        """The total weight of the logits up to these timesteps, float32 [B, 1] on the device."""
        weights = [self._weights[timestep - 1] for timestep in timesteps]
        return torch.tensor(weights, dtype=torch.float32, device=self.device).unsqueeze(1)
