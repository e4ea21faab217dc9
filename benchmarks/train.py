"""How fast a training step is: ours beside plain snnTorch, and the quantised step beside the spiking one.

Full-width ResNet-18 on CIFAR-10-shaped noise; one step is forward, backward and the optimiser's update. The variants
alternate within one run, so that a busy machine slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.record import Findings, Goal
from benchmarks.snntorch_neuron import Leaky
from shared.models.neuron import Neuron
from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec
from training.activations import ClipFloorShift, fused_recurrence, use
from training.losses import classification

OURS, PLAIN = "spiking, T=4, ours", "spiking, T=4, snnTorch modules, layer by layer"
PUBLISHED_RATIO = 34 / 18.6
"""The guide's figures for T = 4 in images a second: time folded into the batch, over the plain snnTorch loop."""


def measure(threads: int | None, batch: int, quick: bool) -> Findings:
    """Time the variants side by side.

    Args:
        threads: of the CPU; None leaves PyTorch's choice.
        batch: samples in a step.
        quick: a narrow network and few steps.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    width, rounds = (8, 2) if quick else (64, 5)
    frames, labels = torch.rand(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    variants: dict[str, Callable[[], Any]] = {
        "quantised, T=1": _step(_network(width, 1, ClipFloorShift(4)), frames, labels),
        "spiking, T=2, ours": _step(_network(width, 2, fused_recurrence), frames, labels),
        OURS: _step(_network(width, 4, fused_recurrence), frames, labels),
        "spiking, T=4, plain loop under autograd": _step(_network(width, 4, None), frames, labels),
        PLAIN: _step(_snntorch(width, 4), frames, labels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for warm in range(rounds + 1):
        for name, step in variants.items():
            begun = time.perf_counter()
            step()
            if warm:
                seconds[name].append(time.perf_counter() - begun)
    medians = {name: batch / statistics.median(values) for name, values in seconds.items()}
    rates = {
        name: {
            "samples_per_second_median": round(medians[name], 2),
            "samples_per_second_all": [round(batch / value, 2) for value in values],
            "minutes_per_50000": round(50_000 / medians[name] / 60, 1),
        }
        for name, values in seconds.items()
    }
    name = "training step at T=4, times the plain snnTorch loop"
    note = "the goal was measured with bf16 against fp32 on a CPU with AVX-512 BF16"
    return Findings(
        n={"steps of each": rounds, "batch": batch, "width": width, "threads": torch.get_num_threads()},
        results=rates,
        targets=[
            Goal(name, round(PUBLISHED_RATIO, 2), round(medians[OURS] / medians[PLAIN], 2), "ratio", "higher", note)
        ],
    )


def _network(width: int, timesteps: int, recurrence: Any) -> SplitNetwork:
    network = SplitNetwork(NetworkSpec("resnet18", (3, 32, 32), 10, "layer1", width=width, timesteps=timesteps))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    use(network, recurrence)
    return network.train()


def _step(network: nn.Module, frames: Tensor, labels: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True)

    def step() -> None:
        loss = classification(network(frames), labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


class _Stepped(nn.Module):
    """The network run one timestep after the other, as a snnTorch user writes it."""

    def __init__(self, network: SplitNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        edge, cloud = self.network.edge, self.network.cloud
        edge_state, cloud_state = edge.initial_state(len(frames)), cloud.initial_state(len(frames))
        logits = []
        for _ in range(self.network.spec.timesteps):
            spikes, edge_state = edge.step(edge.embed(frames.unsqueeze(0))[0], edge_state)
            out, cloud_state = cloud.step(spikes, cloud_state)
            logits.append(out)
        return torch.stack(logits)


def _snntorch(width: int, timesteps: int) -> nn.Module:
    """Every neuron an `snn.Leaky`, time not folded, the default memory layout."""
    network = SplitNetwork(NetworkSpec("resnet18", (3, 32, 32), 10, "layer1", width=width, timesteps=timesteps))
    for module in network.modules():
        if isinstance(module, Neuron):
            module.recurrence = Leaky(module)
    return _Stepped(network).train()
