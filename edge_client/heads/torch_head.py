"""The head run by torch on the CPU, in the form for inference. The only module of the edge that imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import Frames
from edge_client.heads.embedding import Embedding
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
        try:
            import torch  # noqa: PLC0415  the rest of the edge runs without it
        except ImportError:
            raise ConfigError("--runtime torch needs torch: pip install '.[edge-torch]' in a checkout") from None
        from shared.models.inference import inference_form  # noqa: PLC0415  imports torch
        from shared.models.load import load_edge  # noqa: PLC0415  imports torch

        torch.set_num_threads(threads)
        self.network = inference_form(load_edge(bundle))
        self._embedding = Embedding(bundle.manifest, self._embed)

    def start(self, frames: Frames) -> TorchHeadRun:
        """Embed a picture; event frames are embedded when they are due."""
        return TorchHeadRun(self.network, self._embedding.of(frames))

    def _embed(self, frame: NDArray[np.float32]) -> Tensor:
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            return self.network.embed(torch.from_numpy(frame).unsqueeze(0))[0]


class TorchHeadRun:
    """One sample in a `TorchHead`. Its steps overwrite the state they are given, which is this object's alone."""

    def __init__(self, network: EdgeNetwork, current: Callable[[], Tensor]) -> None:
        import torch  # noqa: PLC0415

        self._inference = torch.inference_mode
        self._network = network
        self._current = current
        with self._inference():
            self._state = network.initial_state(1)

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep."""
        with self._inference():
            spikes, self._state = self._network.step(self._current(), self._state)
            out: Spikes = spikes[0].numpy().astype(np.uint8)
        return out
