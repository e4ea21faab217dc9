"""The `spiking` tail on a CPU: a step is recorded once as TorchScript, then run by one call.

In plain PyTorch a step is about a hundred calls from Python. After each of them the engine's thread needs the GIL,
which the event loop holds while it serves streams. A recorded step needs the GIL only at its end. It runs the same
operations in the same order, so its results have the same bits as the plain tail's.
"""

from __future__ import annotations

import io
import warnings

import torch

from cloud_server.tails.spiking import Compute, SpikingStep, SpikingTail

RECORDED_BATCH = 2
"""Batch size of the recording; steps may have any. With 1, special cases of a single sample could be recorded."""


class TracedTail(SpikingTail):
    """A `SpikingTail` whose step is recorded when it is loaded."""

    @torch.inference_mode()
    def _prepare(self, step: SpikingStep) -> Compute:
        spikes = torch.zeros((RECORDED_BATCH, *self.network.in_shape), dtype=torch.uint8, device=self.device)
        weights = torch.ones((RECORDED_BATCH, 1), device=self.device)
        state = self.slots(RECORDED_BATCH).fresh(RECORDED_BATCH)
        with warnings.catch_warnings():
            # torch warns of the loop over timesteps (a step has one) and that TorchScript is old: docs/decisions/0008.
            warnings.simplefilter("ignore")
            inputs = spikes, weights, state.membranes, state.logits
            traced = torch.jit.trace(step.eval(), inputs, check_trace=False)  # type: ignore[no-untyped-call]
            recorded: Compute = torch.jit.freeze(_reload(traced))
        return recorded


def _reload(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Save a module and load it again.

    Freezing turns the weights into constants of the code, and a process keeps all code that it traced until it ends
    (pytorch/pytorch#96726), so the weights of a retired tail would stay in memory. Code that was loaded is freed.
    """
    file = io.BytesIO()
    torch.jit.save(module, file)
    file.seek(0)
    read: torch.jit.ScriptModule = torch.jit.load(file)  # type: ignore[no-untyped-call]
    return read
