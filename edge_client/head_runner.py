"""The head and encoder of a bundle: from a sample's frames to the spikes of one timestep after the other.

`Head` is the interface, in numpy, so that a runtime without torch can take the place of `TorchHead`. torch is imported
in this module alone, and only when a `TorchHead` is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle, Normalisation
from shared.errors import ConfigError
from shared.spike_codec import Spikes

if TYPE_CHECKING:
    from torch import Tensor

    from shared.models.split import EdgeNetwork

Frames = NDArray[np.uint8]
"""A picture [C, H, W], or event frames [T, C, H, W]."""


class HeadRun(Protocol):
    """One sample's way through the head: it alone holds the sample's membranes."""

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep, zeros and ones. At most T times."""


class Head(Protocol):
    """A loaded head: any number of samples may be on their way at once, each with its own state."""

    def start(self, frames: Frames) -> HeadRun:
        """A sample before its first timestep."""


class TorchHead:
    """The head run by torch on the CPU.

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
            raise ConfigError("the edge's head needs torch: pip install 'neucodex[edge]'") from None
        torch.set_num_threads(threads)
        self.network = _load(bundle)
        self.normalisation = bundle.manifest.normalisation
        spec = bundle.manifest.network
        self._sample_shape = spec.input_shape if spec.input_kind == "static" else (spec.timesteps, *spec.input_shape)

    def start(self, frames: Frames) -> TorchHeadRun:
        """Normalise and embed a sample: a static picture once, event frames all at once."""
        assert frames.shape == self._sample_shape, (frames.shape, self._sample_shape)
        return TorchHeadRun(self.network, normalise(frames, self.normalisation))

    def warm_up(self, timesteps: int = 2) -> None:
        """Step an empty sample, so that the first real one does not pay for torch's first allocations."""
        run = self.start(np.zeros(self._sample_shape, np.uint8))
        for _ in range(timesteps):
            run.step()


class TorchHeadRun:
    """One sample in a `TorchHead`."""

    def __init__(self, network: EdgeNetwork, inputs: NDArray[np.float32]) -> None:
        import torch  # noqa: PLC0415  the rest of the edge runs without it

        self._inference = torch.inference_mode
        self._network = network
        self._timestep = 0
        with self._inference():
            # [T, 1, C, H, W], T = 1 for a static picture, whose one current is shown at every timestep.
            stacked = torch.from_numpy(inputs if inputs.ndim == 4 else inputs[np.newaxis]).unsqueeze(1)
            self._currents: Tensor = network.embed(stacked)
            self._state = network.initial_state(1)

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep."""
        with self._inference():
            current = self._currents[min(self._timestep, self._currents.shape[0] - 1)]
            spikes, self._state = self._network.step(current, self._state)
            self._timestep += 1
            out: Spikes = spikes[0].numpy().astype(np.uint8)
        return out


def normalise(frames: Frames, normalisation: Normalisation) -> NDArray[np.float32]:
    """(pixel * scale - mean) / std for each channel, the third axis from the end; float32 of the same shape."""
    mean = np.array(normalisation.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(normalisation.std, np.float32)[:, np.newaxis, np.newaxis]
    scaled = frames.astype(np.float32) * np.float32(normalisation.scale)
    return ((scaled - mean) / std).astype(np.float32, copy=False)


def _load(bundle: Bundle) -> EdgeNetwork:
    # The one place where the form of the head is chosen. Its steps overwrite the state they are given, which a
    # TorchHeadRun keeps to itself.
    from shared.models.inference import inference_form  # noqa: PLC0415  imports torch
    from shared.models.load import load_edge  # noqa: PLC0415  imports torch

    return inference_form(load_edge(bundle))
