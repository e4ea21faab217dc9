"""Runs the head by torch on the CPU, in inference form. The only module of the edge that imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.heads.embedding import Embedding
from edge_client.heads.rate_head import RateHead
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.spike_codec import Spikes

if TYPE_CHECKING:
    from torch import Tensor

    from shared.models.split import EdgeNetwork


class TorchHead:
    """See the module.

    Args:
        bundle: the head's file is read, the tail's is not.
        threads: of torch's operations, for the whole process.

    Raises:
        BundleError: the head's file is missing or damaged.
        ConfigError: torch is not installed.
    """

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        _check_installed()
        import torch  # noqa: PLC0415  the rest of the edge runs without it

        from shared.models.inference import inference_form  # noqa: PLC0415  imports torch
        from shared.models.load import load_edge  # noqa: PLC0415  imports torch

        torch.set_num_threads(threads)
        self.network = inference_form(load_edge(bundle))
        self._embedding = Embedding(bundle.manifest, self._embed)

    def start(self, pixels: InputArray) -> TorchHeadRun:
        """Embed a picture; event frames are embedded when they are due."""
        return TorchHeadRun(self.network, self._embedding.currents(pixels))

    def _embed(self, frame: NDArray[np.float32]) -> Tensor:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            return self.network.embed(torch.from_numpy(frame).unsqueeze(0))[0]


def open_torch_rate_head(bundle: Bundle, threads: int = 1) -> RateHead:
    """The head of the `rate` execution, run by torch on the CPU.

    Args:
        bundle: the head's file is read, the tail's is not.
        threads: of torch's operations, for the whole process.

    Raises:
        BundleError: the head's file is missing or damaged.
        ConfigError: torch is not installed.
    """
    _check_installed()
    import torch  # noqa: PLC0415

    from shared.models.load import load_edge  # noqa: PLC0415
    from shared.models.rate import RateEdge  # noqa: PLC0415

    torch.set_num_threads(threads)
    network = RateEdge(load_edge(bundle), bundle.settings.head_levels)

    def currents(frame: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            out: NDArray[np.float32] = network(torch.from_numpy(frame))[0].contiguous().numpy()
        return out

    return RateHead(bundle.manifest, currents)


def _check_installed() -> None:
    if not find_spec("torch"):
        raise ConfigError("--runtime torch needs torch: pip install '.[edge-torch]' in a checkout")


class TorchHeadRun:
    """One sample in a `TorchHead`. Its steps overwrite the state, which only this object has."""

    def __init__(self, network: EdgeNetwork, currents: Iterator[Tensor]) -> None:
        import torch  # noqa: PLC0415

        self._inference = torch.inference_mode
        self._network = network
        self._currents = currents
        with self._inference():
            self._state = network.initial_state(1)

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep."""
        with self._inference():
            spikes, self._state = self._network.step(next(self._currents), self._state)
            out: Spikes = spikes[0].numpy().astype(np.uint8)
        return out
