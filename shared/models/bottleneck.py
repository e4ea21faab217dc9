"""The learned compressor at the split: into a few binary channels on the edge, back again in the cloud."""

from __future__ import annotations

from torch import Tensor, nn

from shared.models.layers import Chain, SpikingConv, SpikingModule, State, fold_time
from shared.models.neuron import Neuron
from shared.network_spec import BottleneckSpec, NeuronSpec, Shape


def build_encoder(in_shape: Shape, bottleneck: BottleneckSpec | None, neuron: NeuronSpec) -> SpikingModule:
    """Convolution to the bottleneck's channels, strided as it asks, normalisation, neuron. Identity without one."""
    if bottleneck is None:
        return Chain(in_shape, [])
    kernel = 3 if bottleneck.stride == 1 else 2 * bottleneck.stride - 1
    return SpikingConv(in_shape, bottleneck.channels, neuron, kernel, bottleneck.stride)


def build_decoder(out_shape: Shape, bottleneck: BottleneckSpec | None, neuron: NeuronSpec) -> SpikingModule:
    """The encoder's mirror: back to `out_shape`, as spikes. Identity without a bottleneck."""
    if bottleneck is None:
        return Chain(out_shape, [])
    height, width = (-(-side // bottleneck.stride) for side in out_shape[1:])
    encoded = (bottleneck.channels, height, width)
    if bottleneck.stride == 1:
        return SpikingConv(encoded, out_shape[0], neuron)
    return SpikingUpsample(encoded, out_shape, bottleneck.stride, neuron)


class SpikingUpsample(SpikingModule):
    """Transposed convolution that enlarges the map `stride` times, normalisation, neuron.

    Kernels of twice the stride overlap by half, which spares the checkerboard of kernels as large as the stride.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape, stride: int, neuron: NeuronSpec) -> None:
        super().__init__()
        self.in_shape = in_shape
        self.out_shape = out_shape
        self.current = nn.Sequential(
            nn.ConvTranspose2d(in_shape[0], out_shape[0], 2 * stride, stride, padding=stride // 2, bias=False),
            nn.BatchNorm2d(out_shape[0]),
        )
        self.neuron = Neuron(out_shape, neuron)
        self.neurons = (self.neuron,)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        current = fold_time(self.current, x)
        height, width = self.out_shape[1:]  # the encoder rounded odd maps up
        spikes, membrane = self.neuron(current[..., :height, :width], state[0])
        return spikes, (membrane,)
