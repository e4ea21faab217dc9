"""The two executions of one set of weights. Edge and cloud agree on one in Open.

spiking: head and tail step integrate-and-fire neurons; for neuromorphic hardware, and for events whose order matters.
rate: layers without spikes on the wire compute once with the mean spike count that their neurons would have. The head
    runs once for a picture, the encoder's neurons alone step and make the frames, and the cloud reads the mean of the
    frames so far (docs/decisions/0016-two-executions.md).
"""

from __future__ import annotations

from typing import Literal, get_args

from shared.network_spec import NetworkSpec

Execution = Literal["rate", "spiking"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)

MOST_TIMESTEPS = 255
"""Of `rate`: the cloud counts a neuron's spikes in a byte."""


def executions_of(spec: NetworkSpec) -> tuple[Execution, ...]:
    """The executions that a network has: `spiking` always, `rate` where `why_not_rate` finds nothing."""
    return ("spiking",) if why_not_rate(spec) else EXECUTIONS


def why_not_rate(spec: NetworkSpec) -> str | None:
    """Why a network has no `rate` execution; None if it has one."""
    neuron = spec.neuron
    if spec.bottleneck is None:
        return "it needs network.bottleneck: the bottleneck's neurons make the frames"
    if not neuron.counts_by_rounding:
        return (
            "it needs neurons without a leak that begin at half their threshold: network.neuron has "
            f"leak {neuron.leak:g}, threshold {neuron.threshold:g}, initial_membrane {neuron.initial_membrane:g}"
        )
    if spec.timesteps > MOST_TIMESTEPS:
        return f"it counts spikes in a byte: network.timesteps is {spec.timesteps}, it must be {MOST_TIMESTEPS} or less"
    return None
