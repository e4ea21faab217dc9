"""Activations that replace a `Neuron` in training: ReLU, the quantised one, and the recurrence as one autograd node.

All have the signature of `shared.models.neuron.Recurrence` and leave every parameter as it is, so weights go from one
to the other without conversion.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.models.neuron import Neuron, Recurrence, surrogate
from shared.network_spec import NeuronSpec


def use(network: nn.Module, recurrence: Recurrence | None) -> None:
    """Set the recurrence of every neuron of a network; None restores the plain loops."""
    for module in network.modules():
        if isinstance(module, Neuron):
            module.recurrence = recurrence


def rectify(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """The ordinary ANN: ReLU(x) / threshold, the quantised activation without its levels and its limit.

    It has no memory: the membrane passes through.
    """
    return F.relu(currents) / spec.threshold, membrane


class ClipFloorShift:
    """The activation of the quantised ANN that is trained before its weights run as spikes.

    clip(floor(x * levels / threshold + 1/2) / levels, 0, 1) is the mean spike count of an integrate-and-fire neuron
    over `levels` timesteps of a constant current x, the membrane starting at half the threshold (Bu et al., "Optimal
    ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks", ICLR 2022). It has no memory:
    the membrane passes through, whatever its shape. Gradient: straight through, that of clip(x / threshold, 0, 1).

    Of several `levels` sample i of a batch has number i modulo their count.
    """

    def __init__(self, *levels: int) -> None:
        self.levels = levels

    def __call__(self, currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
        levels: int | Tensor = self.levels[0]
        if len(self.levels) > 1:
            batch = currents.shape[1]
            turns = torch.tensor(self.levels, dtype=currents.dtype, device=currents.device)
            levels = turns.repeat(-(-batch // len(turns)))[:batch].view(1, -1, 1, 1, 1)
        return cast(Tensor, _ClipFloorShift.apply(currents, spec.threshold, levels)), membrane  # type: ignore[no-untyped-call]


class _ClipFloorShift(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, levels: int | Tensor) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < threshold))
        ctx.threshold = threshold
        return x.mul(levels / threshold).add_(0.5).floor_().div_(levels).clamp_(0.0, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        grad = grads[0] * inside
        return (grad if ctx.threshold == 1.0 else grad.div_(ctx.threshold)), None, None


def fused_recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """`shared.models.neuron.differentiable_recurrence` in one autograd node: the same spikes, the same gradients.

    The loop over T would otherwise leave some ten nodes a timestep for autograd to walk, each with a copy of the map.
    """
    spikes, last = cast(tuple[Tensor, Tensor], _FusedRecurrence.apply(currents, membrane, spec))  # type: ignore[no-untyped-call]
    return spikes, last


class _FusedRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
        excess = _empty_like(currents)  # membrane minus threshold
        for t, current in enumerate(currents):
            reset = (membrane > spec.threshold).to(membrane.dtype)
            decayed = membrane if spec.leak == 1.0 else membrane * spec.leak
            membrane = (decayed + current).sub_(reset, alpha=spec.threshold)
            torch.sub(membrane, spec.threshold, out=excess[t])
        ctx.save_for_backward(excess)
        ctx.spec = spec
        return (excess > 0).to(currents.dtype), membrane

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (excess,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = excess.detach().requires_grad_()
            (grad,) = torch.autograd.grad(surrogate(ctx.spec)(leaf), leaf, grads[0])
        grad[-1].add_(grads[1])
        for t in range(len(grad) - 2, -1, -1):
            grad[t].add_(grad[t + 1], alpha=ctx.spec.leak)
        return grad, grad[0] * ctx.spec.leak, None


def _empty_like(currents: Tensor) -> Tensor:
    """Room for [T, B, C, H, W] in the memory layout of one timestep; `currents` may repeat one timestep T times."""
    timesteps, batch, channels, height, width = currents.shape
    if currents[0].is_contiguous():
        return torch.empty(currents.shape, dtype=currents.dtype, device=currents.device)
    channels_last = (timesteps, batch, height, width, channels)
    return torch.empty(channels_last, dtype=currents.dtype, device=currents.device).permute(0, 1, 4, 2, 3)
