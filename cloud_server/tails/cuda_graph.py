"""The `spiking` tail on a GPU: a step of each batch size is recorded once as a CUDA graph, then replayed by one launch.

A step is about a hundred small kernels, and launching them one by one takes longer than running them. A recording works
on memory of its own, so batches are padded to the recorded sizes (`buckets`) and copied in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloud_server.config import Precision
from cloud_server.tails.base import StepOutput, buckets
from cloud_server.tails.membranes import SpikingState
from cloud_server.tails.spiking import SpikingTail
from shared.bundle import Bundle
from shared.spike_codec import Spikes

WARM_UPS = 3
"""Steps before a recording: libraries choose their kernels during the first steps."""

Replay = Callable[[], None]


@dataclass(frozen=True)
class _Recorded:
    """The recording of one batch size, and the memory that it reads and writes.

    Tensors named `host_` are in pinned memory of the host; the others are on the device.

    Attributes:
        size: samples.
        spikes, host_spikes: uint8 [size, C, H, W].
        weights, host_weights: float32 [size, 1], as `SpikingTail.weights`.
        state: the samples' state; a replay overwrites it.
        confidences, host_confidences: float32 [size, classes].
        replay: runs the step.
    """

    size: int
    spikes: Tensor
    host_spikes: Tensor
    weights: Tensor
    host_weights: Tensor
    state: SpikingState
    confidences: Tensor
    host_confidences: Tensor
    replay: Replay


class CudaGraphTail(SpikingTail):
    """A `SpikingTail` that records a batch size at its first batch. The engine's warm-up steps all sizes.

    On a device without CUDA graphs it runs the steps instead of replaying them, with the same padding and copying.

    Args:
        bundle, device, precision: as of `SpikingTail`.
        max_batch: the largest batch.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision, max_batch: int) -> None:
        super().__init__(bundle, device, precision)
        self._sizes = buckets(max_batch)
        self._recorded: dict[int, _Recorded] = {}

    @torch.inference_mode()
    def step(self, frames: Sequence[Spikes], timesteps: Sequence[int], state: SpikingState) -> StepOutput[SpikingState]:
        count = len(frames)
        size = next(size for size in self._sizes if size >= count)
        recorded = self._recorded.get(size)
        if recorded is None:
            recorded = self._recorded[size] = self._record(size)
        np.stack(frames, out=recorded.host_spikes.numpy()[:count])
        recorded.host_weights[:count] = torch.tensor([[self._weights[timestep - 1]] for timestep in timesteps])
        recorded.spikes.copy_(recorded.host_spikes, non_blocking=True)
        recorded.weights.copy_(recorded.host_weights, non_blocking=True)
        recorded.state.block[:count].copy_(state.block)
        recorded.replay()
        recorded.host_confidences.copy_(recorded.confidences, non_blocking=True)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        state.block.copy_(recorded.state.block[:count])
        return StepOutput(state, recorded.host_confidences[:count].numpy().copy())

    def _record(self, size: int) -> _Recorded:
        cuda = self.device.type == "cuda"
        shape, classes = self.network.in_shape, self.network.spec.classes
        host_spikes = torch.zeros((size, *shape), dtype=torch.uint8, pin_memory=cuda)
        host_weights = torch.ones((size, 1), pin_memory=cuda)
        host_confidences = torch.empty((size, classes), pin_memory=cuda)
        spikes, weights = host_spikes.to(self.device), host_weights.to(self.device)
        state = self.slots(size).fresh(size)
        confidences = torch.empty((size, classes), device=self.device)

        def run() -> None:
            confidences.copy_(self.compute(spikes, weights, state.membranes, state.logits))

        replay = _record_graph(run, self.device) if cuda else run
        return _Recorded(size, spikes, host_spikes, weights, host_weights, state, confidences, host_confidences, replay)


def _record_graph(run: Replay, device: torch.device) -> Replay:
    """Record the kernels that `run` launches."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
    return graph.replay
