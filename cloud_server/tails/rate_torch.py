"""Runs the network of the `rate` tail by torch: on a GPU, or if the bundle has no graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_server.config import Precision
from cloud_server.tails.frame_sums import Sums
from cloud_server.tails.torch_device import DTYPES
from shared.bundle import Bundle
from shared.models.load import load_cloud
from shared.models.rate import RateCloud


class TorchRateNetwork:
    """A `RateNetwork` in torch. It turns TF32 off for the whole process, as `SpikingTail` does.

    Args:
        bundle: in the `rate` execution.
        device: to run on.
        precision: of convolutions and activations.
        batch_invariant: compute one sample after the other, so that an answer has the same bits in any batch (see
            `invariant.py`). One thread must run it.

    Raises:
        BundleError: the tail's file is missing, damaged or does not fit the manifest.
    """

    def __init__(
        self, bundle: Bundle, device: torch.device, precision: Precision = "fp32", *, batch_invariant: bool = False
    ) -> None:
        torch.backends.cudnn.allow_tf32 = False  # the older name of the setting, which every torch since 2.4 has
        self._device = device
        self._batch_invariant = batch_invariant
        network = RateCloud(load_cloud(bundle), bundle.settings.tail_levels, DTYPES[precision])
        self._network = network.to(device).eval()

    def use_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    @torch.inference_mode()
    def logits(self, sums: Sums, timesteps: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._batch_invariant and len(sums) > 1:
            return np.concatenate([self.logits(sums[at : at + 1], timesteps[at : at + 1]) for at in range(len(sums))])
        on_device = torch.from_numpy(sums).to(self._device), torch.from_numpy(timesteps).to(self._device)
        out: NDArray[np.float32] = self._network(*on_device).cpu().numpy()
        return out
