"""The tail on a GPU: a step of each batch size recorded once (CUDA graphs), then replayed with one launch.

A step of a tail is some hundred small kernels; launching them one by one takes longer than running them. A recording
works on memory of its own, so batches are padded to the sizes recorded (`buckets`), and copied in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloud_server.config import Precision
from cloud_server.tails.base import StepOutput, buckets
from cloud_server.tails.membranes import Rows
from cloud_server.tails.spiking import SpikingTail
from shared.bundle import Bundle
from shared.spike_codec import Spikes

WARM_UPS = 3
"""Steps before a recording: libraries choose their kernels in the first ones."""

Replay = Callable[[], None]


@dataclass(frozen=True)
class _Recorded:
    """A batch size with the memory that its recording reads and writes.

    Attributes:
        size: samples.
        spikes: uint8 [size, C, H, W] on the device; `sent` is the same in pinned memory of the host.
        weights: float32 [size, 1], and `weighed` on the host: as `SpikingTail.weights`.
        state: overwritten.
        confidences: float32 [size, classes] on the device, and `told` on the host.
        replay: runs the step.
    """

    size: int
    spikes: Tensor
    sent: Tensor
    weights: Tensor
    weighed: Tensor
    state: Rows
    confidences: Tensor
    told: Tensor
    replay: Replay


class GraphTail(SpikingTail):
    """A tail whose steps are recorded, each size at its first batch: warm-up goes through all of them.

    On a device without CUDA graphs the same steps are run, not replayed: padding and copying are the same.

    Args:
        max_batch: no batch is larger.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision, max_batch: int) -> None:
        super().__init__(bundle, device, precision)
        self._sizes = buckets(max_batch)
        self._recorded: dict[int, _Recorded] = {}

    @torch.inference_mode()
    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: Rows) -> StepOutput[Rows]:
        count = len(frames)
        size = next(size for size in self._sizes if size >= count)
        recorded = self._recorded.get(size)
        if recorded is None:
            recorded = self._recorded[size] = self._record(size)
        np.stack(frames, out=recorded.sent.numpy()[:count])
        recorded.weighed[:count] = torch.tensor([[self._weights[timestep - 1]] for timestep in timesteps])
        recorded.spikes.copy_(recorded.sent, non_blocking=True)
        recorded.weights.copy_(recorded.weighed, non_blocking=True)
        recorded.state.block[:count].copy_(state.block)
        recorded.replay()
        recorded.told.copy_(recorded.confidences, non_blocking=True)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        state.block.copy_(recorded.state.block[:count])
        return StepOutput(state, recorded.told[:count].numpy().copy())

    def _record(self, size: int) -> _Recorded:
        cuda = self.device.type == "cuda"
        shape, classes = self.network.in_shape, self.network.spec.classes
        sent = torch.zeros((size, *shape), dtype=torch.uint8, pin_memory=cuda)
        weighed = torch.ones((size, 1), pin_memory=cuda)
        told = torch.empty((size, classes), pin_memory=cuda)
        spikes, weights = sent.to(self.device), weighed.to(self.device)
        state = self.slots(size).fresh(size)
        confidences = torch.empty((size, classes), device=self.device)

        def run() -> None:
            confidences.copy_(self.compute(spikes, weights, state))

        replay = _graph(run, self.device) if cuda else run
        return _Recorded(size, spikes, sent, weights, weighed, state, confidences, told, replay)


def _graph(run: Replay, device: torch.device) -> Replay:
    """Record what `run` launches."""
    with torch.cuda.device(device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    return graph.replay
