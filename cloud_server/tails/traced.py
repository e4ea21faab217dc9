"""The tail on a CPU: a step recorded once as TorchScript, then run by one call.

In plain PyTorch a step is some hundred calls from Python, and after each of them the engine's thread asks for the GIL
again, which the event loop holds while it serves streams. A recorded step needs it at its end alone. It runs the same
operations in the same order: its results are those of the plain tail, bit for bit.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cloud_server.config import Precision
from cloud_server.tails.membranes import Rows
from cloud_server.tails.spiking import SpikingTail
from shared.bundle import Bundle
from shared.models.layers import State
from shared.models.split import CloudNetwork

RECORDED_BATCH = 2
"""Of one sample, what is true of one alone might be recorded. Batches may have any size."""


class TracedTail(SpikingTail):
    """A tail whose step is recorded when it is loaded."""

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision = "fp32") -> None:
        super().__init__(bundle, device, precision)
        self._recorded = self._record()

    def compute(self, spikes: Tensor, weights: Tensor, state: Rows) -> Tensor:
        confidences: Tensor = self._recorded(spikes, weights, state.membranes, state.logits)
        return confidences

    @torch.inference_mode()
    def _record(self) -> Callable[..., Tensor]:
        spikes = torch.zeros((RECORDED_BATCH, *self.network.in_shape), dtype=torch.uint8, device=self.device)
        weights = torch.ones((RECORDED_BATCH, 1), device=self.device)
        state = self.slots(RECORDED_BATCH).fresh(RECORDED_BATCH)
        step = _Step(self.network, super().compute).eval()
        with warnings.catch_warnings():
            # Of iterating over timesteps, of which a step has one, and of TorchScript's age: docs/decisions/0008.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(step, (spikes, weights, state.membranes, state.logits), check_trace=False)  # type: ignore[no-untyped-call]
            recorded: Callable[..., Tensor] = torch.jit.freeze(_on_its_own(traced))
        return recorded


def _on_its_own(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The same, written and read again.

    Freezing makes the weights constants of the code, and all code that a process traces is kept in one place until it
    ends (pytorch/pytorch#96726): a retired tail's weights would stay. What is read has a place of its own.
    """
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    read: torch.jit.ScriptModule = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return read


class _Step(nn.Module):
    """What is recorded, as the module that TorchScript wants."""

    def __init__(self, network: CloudNetwork, compute: Callable[[Tensor, Tensor, Rows], Tensor]) -> None:
        super().__init__()
        self.network = network
        self._compute = compute

    def forward(self, spikes: Tensor, weights: Tensor, membranes: State, logits: Tensor) -> Tensor:
        return self._compute(spikes, weights, Rows(membranes, logits, logits))
