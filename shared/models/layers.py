"""The building blocks of all backbones: pure functions of (input, state), time as the first axis.

A block takes x [T, B, C, H, W] and the state of its neurons, and returns (out [T, B, C', H', W'], new state). The state
is a flat tuple of membranes [B, C, H, W] in the order in which the neurons fire. One timestep is T = 1, so stepping and
running T timesteps at once are the same code. Layers without memory see time folded into the batch, which is what
makes training over T fast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.models.neuron import Neuron
from shared.network_spec import NeuronSpec, Shape

State = tuple[Tensor, ...]


class SpikingModule(nn.Module):
    """A block with explicit state. Subclasses set `in_shape`, `out_shape` and `neurons` and define `forward`."""

    in_shape: Shape
    out_shape: Shape
    neurons: tuple[Neuron, ...]

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state of `batch` samples before their first timestep: one membrane [batch, C, H, W] per neuron layer."""
        return tuple(neuron.initial_state(batch, device=device, dtype=dtype) for neuron in self.neurons)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One timestep: x [B, C, H, W] -> (out [B, C', H', W'], new state)."""
        out, state = self(x.unsqueeze(0), state)
        return out.squeeze(0), state


class ConvNorm(nn.Sequential):
    """Convolution and batch normalisation, no memory: [N, C, H, W] -> [N, C', H', W']."""

    def __init__(self, in_shape: Shape, channels: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_shape[0], channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.out_shape: Shape = (channels, -(-in_shape[1] // stride), -(-in_shape[2] // stride))


class SpikingConv(SpikingModule):
    """Convolution, normalisation, neuron."""

    def __init__(self, in_shape: Shape, channels: int, neuron: NeuronSpec, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.current = ConvNorm(in_shape, channels, kernel, stride)
        self.out_shape = self.current.out_shape
        self.neuron = Neuron(self.out_shape, neuron)
        self.neurons = (self.neuron,)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        spikes, membrane = self.neuron(fold_time(self.current, x), state[0])
        return spikes, (membrane,)


class MaxPool(SpikingModule):
    """Max pooling; of spikes it is their OR, so its output is binary too."""

    def __init__(self, in_shape: Shape, kernel: int = 2, stride: int = 2, padding: int = 0) -> None:
        super().__init__()
        self.in_shape = in_shape
        side = [(n + 2 * padding - kernel) // stride + 1 for n in in_shape[1:]]
        self.out_shape = (in_shape[0], side[0], side[1])
        self.pool = nn.MaxPool2d(kernel, stride, padding)
        self.neurons = ()

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return fold_time(self.pool, x), state


class Chain(SpikingModule):
    """Blocks one after the other; the state is theirs, in their order. With none it is the identity on `in_shape`."""

    def __init__(self, in_shape: Shape, blocks: Sequence[SpikingModule]) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = blocks[-1].out_shape if blocks else in_shape
        self.blocks = nn.ModuleList(blocks)
        self.neurons = tuple(neuron for block in blocks for neuron in block.neurons)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: list[Tensor] = []
        taken = 0
        for block in self.blocks:
            assert isinstance(block, SpikingModule)
            count = len(block.neurons)
            x, part = block(x, state[taken : taken + count])
            after.extend(part)
            taken += count
        if taken != len(state):
            raise ValueError(f"{len(state)} membranes for a chain of {taken} neuron layers")
        return x, tuple(after)


class ResidualStage(SpikingModule):
    """ResNet's basic blocks of one resolution: spikes in, spikes out, currents along the shortcuts between.

    A block adds its branch (convolution, neuron, convolution) to the current that went into the neuron before it, as
    MS-ResNet does (Hu et al., "Advancing Spiking Neural Networks Toward Deep Residual Learning", 2021), so that neither
    signal nor gradient has to pass that neuron. All convolutions see spikes, and so does the next stage: where a
    stage ends the network can be cut.
    """

    def __init__(self, in_shape: Shape, channels: int, neuron: NeuronSpec, stride: int, blocks: int) -> None:
        super().__init__()
        self.in_shape = in_shape
        same = stride == 1 and in_shape[0] == channels
        self.shortcut: nn.Module = Gain() if same else ConvNorm(in_shape, channels, kernel=1, stride=stride)
        inner = [SpikingConv(in_shape, channels, neuron, stride=stride)]
        self.out_shape = inner[0].out_shape
        inner += [SpikingConv(self.out_shape, channels, neuron) for _ in range(1, blocks)]
        ends = [Neuron(self.out_shape, neuron) for _ in range(blocks)]
        self.inner = nn.ModuleList(inner)
        self.outer = nn.ModuleList([ConvNorm(self.out_shape, channels) for _ in range(blocks)])
        self.ends = nn.ModuleList(ends)
        self.neurons = tuple(fires for pair in zip(inner, ends, strict=True) for fires in (pair[0].neuron, pair[1]))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        after: list[Tensor] = []
        current = fold_time(self.shortcut, x)
        for index, (inner, outer, end) in enumerate(zip(self.inner, self.outer, self.ends, strict=True)):
            hidden, membrane = inner(x, state[2 * index : 2 * index + 1])
            current = current + fold_time(outer, hidden)
            x, last = end(current, state[2 * index + 1])
            after += [*membrane, last]
        return x, tuple(after)


class ResidualBlock(SpikingModule):
    """ResNet's basic block as published, its neurons where the ReLUs were: spikes go along the shortcut.

    Out fires what the branch (convolution, neuron, convolution) and the shortcut add up to, so that the weights of an
    ordinary ResNet serve (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016). A shortcut that
    changes nothing carries each spike at the charge that it took, one threshold.
    """

    def __init__(self, in_shape: Shape, channels: int, neuron: NeuronSpec, stride: int = 1) -> None:
        super().__init__()
        self.in_shape = in_shape
        same = stride == 1 and in_shape[0] == channels
        self.shortcut = Charge(neuron.threshold) if same else ConvNorm(in_shape, channels, kernel=1, stride=stride)
        self.inner = SpikingConv(in_shape, channels, neuron, stride=stride)
        self.out_shape = self.inner.out_shape
        self.outer = ConvNorm(self.out_shape, channels)
        self.end = Neuron(self.out_shape, neuron)
        self.neurons = (self.inner.neuron, self.end)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, inner = self.inner(x, state[:1])
        current = fold_time(self.outer, hidden) + fold_time(self.shortcut, x)
        spikes, end = self.end(current, state[1])
        return spikes, (*inner, end)


class Charge(nn.Module):
    """Spikes as the current that they took: multiplied by the threshold, which is no parameter."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return x if self.threshold == 1.0 else x * self.threshold


class Gain(nn.Module):
    """Multiply by one learned number, which turns spikes of 0 and 1 into a current."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Readout(nn.Module):
    """Mean over space, then linear: spikes [T, B, C, H, W] -> logits of each timestep [T, B, classes]. No memory."""

    def __init__(self, in_shape: Shape, classes: int) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.linear = nn.Linear(in_shape[0], classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x.mean(dim=(-2, -1), dtype=self.linear.weight.dtype))
        return logits


def fold_time(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer without memory to x [T, B, ...] as one batch of T * B."""
    timesteps, batch = x.shape[:2]
    out: Tensor = layer(x.flatten(0, 1))
    return out.view(timesteps, batch, *out.shape[1:])
