"""Writes a network's blocks as ONNX nodes: `Blocks` walks them in any arithmetic, `FloatBlocks` uses float32.

The graphs are written block by block from the inference form (normalisation folded), not traced: a traced step is full
of the time axis's reshapes, and torch's exporters need more packages or are about to go. A new kind of block must be
added here; an unknown one is refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from shared.models.bottleneck import SpikingUpsample
from shared.models.layers import Chain, Charge, Gain, MaxPool, ResidualBlock, ResidualStage, SpikingConv
from shared.models.neuron import Neuron
from shared.models.split import Entry
from training.onnx_writer import Writer

SpikeT = TypeVar("SpikeT")
"""The output of a neuron: spikes, or their mean."""

CurrentT = TypeVar("CurrentT")
"""The input of a neuron."""


class Blocks(ABC, Generic[SpikeT, CurrentT]):
    """Adds blocks to a graph; a subclass says how each layer is computed."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def block(self, block: nn.Module, x: SpikeT) -> SpikeT:
        """Add a block of the inference form."""
        if isinstance(block, Chain):
            for part in block.blocks:
                x = self.block(part, x)
            return x
        if isinstance(block, SpikingConv | SpikingUpsample):
            return self.spiking(block.neuron, block.current, x)
        if isinstance(block, ResidualStage):
            return self._residual_stage(block, x)
        if isinstance(block, ResidualBlock):
            branch = self.convolution(block.outer, self.block(block.inner, x))
            return self.fire(block.end, self.sum(branch, self._shortcut(block.shortcut, x)))
        if isinstance(block, MaxPool):
            return self.max_pool(block.pool, x)
        raise NotImplementedError(f"{type(block).__name__} has no ONNX form yet: add it to training/onnx_blocks.py")

    def head(self, head: Chain, x: SpikeT) -> SpikeT:
        """The head of a network in inference form, after its first neuron."""
        entry, *stages = head.blocks
        assert isinstance(entry, Entry)
        for block in (entry.after, *stages):
            x = self.block(block, x)
        return x

    def spiking(self, neuron: Neuron, layer: nn.Module, x: SpikeT) -> SpikeT:
        """A convolution, transposed or not, and the neuron after it."""
        return self.fire(neuron, self.convolution(layer, x))

    @abstractmethod
    def fire(self, neuron: Neuron, current: CurrentT) -> SpikeT:
        """Add a neuron."""

    @abstractmethod
    def convolution(self, layer: nn.Module, x: SpikeT) -> CurrentT:
        """A convolution whose normalisation was folded into it."""

    @abstractmethod
    def scaled(self, x: SpikeT, gain: float) -> CurrentT:
        """Spikes as a current."""

    @abstractmethod
    def sum(self, left: CurrentT, right: CurrentT) -> CurrentT:
        """Two currents into one neuron."""

    @abstractmethod
    def max_pool(self, pool: nn.MaxPool2d, x: SpikeT) -> SpikeT:
        """The largest of each window."""

    def _residual_stage(self, stage: ResidualStage, x: SpikeT) -> SpikeT:
        current = self._shortcut(stage.shortcut, x)
        for inner, outer, end in zip(stage.inner, stage.outer, stage.ends, strict=True):
            assert isinstance(end, Neuron)
            current = self.sum(current, self.convolution(outer, self.block(inner, x)))
            x = self.fire(end, current)
        return x

    def _shortcut(self, shortcut: nn.Module, x: SpikeT) -> CurrentT:
        if isinstance(shortcut, Gain):
            return self.scaled(x, float(shortcut.gain))
        if isinstance(shortcut, Charge):
            return self.scaled(x, shortcut.threshold)
        return self.convolution(shortcut, x)


class FloatBlocks(Blocks[str, str]):
    """Everything but the neurons in float32; values are the names of their nodes."""

    def convolution(self, layer: nn.Module, x: str) -> str:
        return float_convolution(self.writer, layer, x)

    def spiking(self, neuron: Neuron, layer: nn.Module, x: str) -> str:
        current = self.convolution(layer, x)
        if isinstance(folded_layer(layer), nn.ConvTranspose2d):
            current = crop(self.writer, current, (0, 0), neuron.shape[1:])
        return self.fire(neuron, current)

    def scaled(self, x: str, gain: float) -> str:
        return x if gain == 1.0 else self.writer.add("Mul", x, self.writer.constant(gain))

    def sum(self, left: str, right: str) -> str:
        return self.writer.add("Add", left, right)

    def max_pool(self, pool: nn.MaxPool2d, x: str) -> str:
        return self.writer.add("MaxPool", x, **pool_sizes(pool))


def float_convolution(writer: Writer, layer: nn.Module, x: str) -> str:
    """A convolution, transposed or not, whose normalisation was folded into it; float32."""
    folded = folded_layer(layer)
    kind = "ConvTranspose" if isinstance(folded, nn.ConvTranspose2d) else "Conv"
    return writer.add(kind, x, *(writer.constant(value) for value in parameters(folded)), **sizes(folded))


def folded_layer(layer: nn.Module) -> nn.Conv2d | nn.ConvTranspose2d:
    """The convolution of a (convolution, normalisation) pair in inference form."""
    assert isinstance(layer, nn.Sequential)
    folded = layer[0]
    assert isinstance(folded, nn.Conv2d | nn.ConvTranspose2d)
    return folded


def parameters(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Its weights and its bias, float32."""
    assert layer.bias is not None
    return layer.weight.numpy(force=True), layer.bias.numpy(force=True)


def sizes(layer: nn.Conv2d | nn.ConvTranspose2d) -> dict[str, list[int]]:
    """The attributes of a convolution's node."""
    assert not isinstance(layer.padding, str)
    pads = [*layer.padding] * 2
    return {"kernel_shape": list(layer.kernel_size), "strides": list(layer.stride), "pads": pads}


def pool_sizes(pool: nn.MaxPool2d) -> dict[str, list[int]]:
    """The attributes of a pool's node."""
    kernel, stride, padding = (int(str(size)) for size in (pool.kernel_size, pool.stride, pool.padding))
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}


def crop(writer: Writer, x: str, start: tuple[int, int], size: tuple[int, int]) -> str:
    """A window of a map: from row and column `start` on, as large as `size`.

    Args:
        writer: gets the nodes.
        x: name of the map's node, [B, C, H, W].
        start: first row and column.
        size: rows and columns.
    """
    ends = np.add(start, size)
    starts, stops, axes = (writer.constant(np.array(value), np.int64) for value in (start, ends, (2, 3)))
    return writer.add("Slice", x, starts, stops, axes)
