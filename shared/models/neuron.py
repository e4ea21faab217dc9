"""The neuron of this project. Its membrane is an argument and a result.

The recurrence is snnTorch's `Leaky` with its default delayed reset by subtraction,

    U[t] = leak * U[t-1] + I[t] - threshold * (U[t-1] > threshold),      S[t] = (U[t] > threshold),

and the surrogate gradients are snnTorch's. `snn.Leaky` itself is not called: it keeps the last membrane on the module
and every instance in a global list, which threads and unrelated batches cannot share. `as_snntorch` returns the
equivalent `snn.Leaky`; a test checks that both compute the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from shared.network_spec import NeuronSpec, Shape

if TYPE_CHECKING:
    import snntorch

Recurrence = Callable[[Tensor, Tensor, NeuronSpec], tuple[Tensor, Tensor]]
"""(currents [T, B, C, H, W], membrane [B, C, H, W], spec) -> (spikes like currents, last membrane)."""


class Neuron(nn.Module):
    """A layer of leaky integrate-and-fire neurons without parameters, the same spec for all of them.

    Called with currents [T, B, C, H, W] and a membrane [B, C, H, W], it returns spikes [T, B, C, H, W] of 0 and 1 in
    the currents' dtype, and the membrane after the last timestep. It keeps nothing between calls.
    """

    recurrence: Recurrence | None
    """A function that replaces the plain loops below; training sets its own."""

    def __init__(self, shape: Shape, spec: NeuronSpec) -> None:
        super().__init__()
        self.shape = shape
        self.spec = spec
        self.recurrence = None

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The membrane of `batch` samples that have seen nothing yet, [batch, C, H, W].

        One number seen `batch * C * H * W` times: copy it before changing it in place.
        """
        return torch.full((), self.spec.initial_membrane, device=device, dtype=dtype).expand(batch, *self.shape)

    def forward(self, currents: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
        """Run T timesteps.

        Raises:
            ValueError: the membrane is not [B, *shape] for the currents' B. (snn.Leaky would start from zero instead.)
        """
        if self.recurrence is not None:
            return self.recurrence(currents, membrane, self.spec)
        if membrane.shape != currents.shape[1:] or tuple(membrane.shape[1:]) != self.shape:
            raise ValueError(
                f"membrane {tuple(membrane.shape)} does not fit currents {tuple(currents.shape)} "
                f"of a neuron layer {self.shape}"
            )
        if torch.is_grad_enabled() and (currents.requires_grad or membrane.requires_grad):
            return differentiable_recurrence(currents, membrane, self.spec)
        return inference_recurrence(currents, membrane, self.spec)

    def as_snntorch(self) -> snntorch.Leaky:
        """The `snn.Leaky` with the same behaviour, for users of snnTorch, and as this module's reference.

        Without `initial_state` its membrane starts at zero.
        """
        import snntorch  # noqa: PLC0415  only training and tests have it installed

        return snntorch.Leaky(
            beta=self.spec.leak,
            threshold=self.spec.threshold,
            spike_grad=surrogate(self.spec),
            reset_mechanism="subtract",
        )

    def extra_repr(self) -> str:
        return f"{self.shape}, leak={self.spec.leak}, threshold={self.spec.threshold}"


def inference_recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """The recurrence without a gradient: half the memory traffic of the differentiable one, the same bits."""
    spikes = []
    for current in currents:
        reset = (membrane > spec.threshold).to(membrane.dtype)
        decayed = membrane if spec.leak == 1.0 else membrane * spec.leak
        membrane = (decayed + current).sub_(reset, alpha=spec.threshold)
        spikes.append((membrane > spec.threshold).to(currents.dtype))
    return (spikes[0].unsqueeze(0) if len(spikes) == 1 else torch.stack(spikes)), membrane


def differentiable_recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """The recurrence under autograd, with snnTorch's surrogate for the spike; the reset passes no gradient."""
    fire = surrogate(spec)
    spikes = []
    for current in currents:
        reset = (membrane.detach() > spec.threshold).to(membrane.dtype)
        membrane = spec.leak * membrane + current - reset * spec.threshold
        spikes.append(fire(membrane - spec.threshold))
    return torch.stack(spikes), membrane


def surrogate(spec: NeuronSpec) -> Callable[[Tensor], Tensor]:
    """snnTorch's spike function: a step forward, the named smooth slope backward."""
    from snntorch import surrogate as functions  # noqa: PLC0415  inference needs no snnTorch

    makers: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
        "atan": lambda: functions.atan(alpha=spec.slope),
        "fast_sigmoid": lambda: functions.fast_sigmoid(slope=spec.slope),
        "sigmoid": lambda: functions.sigmoid(slope=spec.slope),
        "triangular": functions.triangular,
    }
    return makers[spec.surrogate]()
