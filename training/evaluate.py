"""Measures a network: its accuracy at each timestep, and its spikes and operations."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from shared.manifest import Normalisation
from shared.models.neuron import Neuron
from shared.models.split import SplitNetwork
from shared.network_spec import InputKind
from training.data import Samples, evenly_spaced, to_input
from training.device import Machine
from training.executed import ByLayer, Executed
from training.losses import running_mean

BATCH = 100
STATISTICS_SAMPLES = 1000


@torch.inference_mode()
def mean_logits(network: SplitNetwork, samples: Samples, normalisation: Normalisation, machine: Machine) -> Tensor:
    """The running mean of the logits at each timestep, float32 [T, N, classes] on the CPU.

    In float32 throughout: these decide thresholds, and the deployed pair computes so.

    Args:
        network: in inference mode.
        samples: uint8 frames with labels.
        normalisation: of the network's inputs.
        machine: device and precision.
    """
    network.eval()
    parts = []
    for start in range(0, len(samples), BATCH):
        taken = samples.frames[start : start + BATCH].to(machine.device)
        frames = to_input(taken, normalisation, network.spec.input_kind)
        parts.append(running_mean(network(frames)).float().cpu())
    return torch.cat(parts, dim=1)


def accuracy_by_timestep(
    network: SplitNetwork, samples: Samples, normalisation: Normalisation, machine: Machine
) -> list[float]:
    """The share of samples whose running mean points to their label, after timestep 1, 2, ... T.

    Args:
        network: in inference mode.
        samples: uint8 frames with labels.
        normalisation: of the network's inputs.
        machine: device and precision.
    """
    right = mean_logits(network, samples, normalisation, machine).argmax(-1) == samples.labels.cpu()
    return [float(value) for value in right.float().mean(1)]


@torch.inference_mode()
def step_logits(
    executed: Executed, samples: Samples, normalisation: Normalisation, kind: InputKind, machine: Machine
) -> Tensor:
    """The logits that the cloud computes at each timestep, float32 [T, N, classes] on the CPU.

    In float32 throughout: these decide thresholds, and the deployed pair computes so.

    Args:
        executed: the network in one execution.
        samples: uint8 frames with labels.
        normalisation: of the network's inputs.
        kind: pictures or events.
        machine: device and precision.
    """
    parts = []
    for start in range(0, len(samples), BATCH):
        taken = samples.frames[start : start + BATCH].to(machine.device)
        frames = executed.frames(to_input(taken, normalisation, kind))
        parts.append(executed.logits(frames).float().cpu())
    return torch.cat(parts, dim=1)


@torch.inference_mode()
def spike_statistics(
    executed: Executed, samples: Samples, normalisation: Normalisation, machine: Machine
) -> dict[str, Any]:
    """Count spikes and operations at full T, over at most `STATISTICS_SAMPLES` evenly spaced samples.

    Args:
        executed: the network in one execution.
        samples: uint8 frames with labels.
        normalisation: of the network's inputs.
        machine: device and precision.

    Returns:
        layers: for each neuron layer its name, shape and spike rate (spikes per neuron and timestep; in `rate` the mean
            activation of a layer that does not step);
        operations: for each layer with weights its name, dense operations of one pass of one sample, the share of its
            inputs that were not zero, and whether they are real values (the picture) or spikes;
        multiply_accumulates: of the first convolution, which sees real values, per sample (once for a picture);
        accumulates: operations of all other layers per sample, the dense count times the measured input rate
            (Rathi and Roy, "DIET-SNN", count operations so): additions in `spiking`, in `rate` multiply-accumulates
            of small integers; accumulates_edge: those of the edge;
        frame: bits per frame, spike density on the wire, and its zero-order entropy in bits.
    """
    layers = executed.by_layer()
    counter = _SpikeCounter(layers)
    some = torch.from_numpy(evenly_spaced(samples.frames.numpy(), STATISTICS_SAMPLES))
    try:
        for start in range(0, len(some), BATCH):
            taken = some[start : start + BATCH].to(machine.device)
            frames = layers.frames(to_input(taken, normalisation, layers.halves.spec.input_kind))
            counter.sent(frames)
            layers.logits(frames)
    finally:
        counter.remove()
    return counter.result(len(some))


class _SpikeCounter:
    """Forward hooks that sum the spikes of neurons and the inputs of layers with weights."""

    def __init__(self, executed: ByLayer) -> None:
        network = executed.halves
        self._network = network
        self._passes = executed.passes
        self._fired = self._sent = 0.0
        self._spikes: dict[str, Tensor] = {}
        self._seen: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._operations: dict[str, Tensor] = {}
        self._dense: dict[str, float] = {}
        self._handles = []
        for name, module in network.named_modules():
            if isinstance(module, Neuron):
                self._handles.append(module.register_forward_hook(partial(self._neuron, name)))
            elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                self._handles.append(module.register_forward_hook(partial(self._weights, name)))

    def sent(self, frames: Tensor) -> None:
        """Count the spikes [T, B, C', H', W'] that cross the link."""
        self._fired += float(frames.sum())
        self._sent += frames.numel()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _neuron(self, name: str, _: nn.Module, __: Any, out: tuple[Tensor, Tensor]) -> None:
        spikes = out[0]
        self._spikes[name] = self._spikes.get(name, torch.zeros(())) + spikes.sum().cpu()
        self._seen[name] = self._seen.get(name, 0) + spikes.numel()
        self._shapes[name] = tuple(spikes.shape[2:])

    def _weights(self, name: str, layer: nn.Module, inputs: tuple[Tensor], out: Tensor) -> None:
        x = inputs[0]
        if isinstance(layer, nn.ConvTranspose2d):
            dense = x.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Conv2d):
            dense = out.numel() * layer.weight[0].numel()
        else:
            dense = out.numel() * x.shape[-1]
        first = name.startswith("edge.embedding")
        rate = torch.ones(()) if first else x.count_nonzero().cpu() / x.numel()
        self._operations[name] = self._operations.get(name, torch.zeros(())) + dense * rate
        self._dense[name] = self._dense.get(name, 0.0) + dense

    def result(self, samples: int) -> dict[str, Any]:
        layers = [
            {"name": name, "shape": self._shapes[name], "spike_rate": float(self._spikes[name]) / self._seen[name]}
            for name in self._spikes
        ]
        operations = []
        for name, done in self._operations.items():
            real = name.startswith("edge.embedding")
            once = self._passes.first if real else self._passes.edge if name.startswith("edge.") else self._passes.cloud
            dense = self._dense[name] / (samples * once)
            rate = float(done) / self._dense[name]
            operations.append({"name": name, "dense": dense, "input_rate": rate, "real_valued": real})
        first = {name: float(value) for name, value in self._operations.items() if name.startswith("edge.embedding")}
        others = {name: float(value) for name, value in self._operations.items() if name not in first}
        bits = math.prod(self._network.edge.out_shape)
        density = self._fired / self._sent
        entropy = 0.0 if density in (0.0, 1.0) else -math.log2(density**density * (1 - density) ** (1 - density))
        return {
            "layers": layers,
            "operations": operations,
            "multiply_accumulates": sum(first.values()) / samples,
            "accumulates": sum(others.values()) / samples,
            "accumulates_edge": sum(value for n, value in others.items() if n.startswith("edge.")) / samples,
            "frame": {"bits": bits, "density": density, "entropy_bits": bits * entropy},
        }
