"""The learned compressor at the split: the edge encodes into a few binary channels, the cloud decodes them."""

from __future__ import annotations

from torch import Tensor, nn

from shared.errors import SpecError
from shared.models.layers import Chain, SpikingConv, SpikingModule, State, fold_time
from shared.models.neuron import Neuron
from shared.network_spec import LightHeadSpec, NetworkSpec, NeuronSpec, Shape


def build_encoder(in_shape: Shape, spec: NetworkSpec) -> SpikingModule:
    """Convolution to the bottleneck's channels, strided as it asks, normalisation, neuron. Identity without one.

    Behind a light head it is 1 x 1: that head's convolutions have seen the neighbours already.
    """
    bottleneck = spec.bottleneck
    if bottleneck is None:
        return Chain(in_shape, [])
    kernel = 3 if bottleneck.stride == 1 else 2 * bottleneck.stride - 1
    return SpikingConv(in_shape, bottleneck.channels, spec.neuron, 1 if spec.light else kernel, bottleneck.stride)


def build_decoder(frame_shape: Shape, out_shape: Shape, spec: NetworkSpec) -> SpikingModule:
    """From frames to features of `out_shape`, as spikes. Identity without a bottleneck.

    It is the encoder's mirror; behind a light head it is a chain of convolutions that double the map step by step.

    Raises:
        SpecError: the doublings of a light head's decoder do not lead from a frame to `out_shape`.
    """
    bottleneck = spec.bottleneck
    if bottleneck is None:
        return Chain(out_shape, [])
    if spec.light is not None:
        return _deep_decoder(frame_shape, out_shape, spec.light, spec.neuron)
    if bottleneck.stride == 1:
        return SpikingConv(frame_shape, out_shape[0], spec.neuron)
    return SpikingUpsample(frame_shape, out_shape, bottleneck.stride, spec.neuron)


def _deep_decoder(frame_shape: Shape, out_shape: Shape, light: LightHeadSpec, neuron: NeuronSpec) -> Chain:
    first, *others = light.decoder
    blocks: list[SpikingModule] = [SpikingConv(frame_shape, first, neuron)]
    blocks.append(SpikingConv(blocks[-1].out_shape, first, neuron))
    for number, channels in enumerate(others, 1):
        left = len(others) - number
        height, width = (-(-side >> left) for side in out_shape[1:])
        blocks.append(SpikingUpsample(blocks[-1].out_shape, (channels, height, width), 2, neuron))
        blocks.append(SpikingConv(blocks[-1].out_shape, channels, neuron))
    blocks.append(SpikingConv(blocks[-1].out_shape, out_shape[0], neuron))
    if (frame_shape[1] << len(others), frame_shape[2] << len(others)) != out_shape[1:]:
        raise SpecError(
            f"light.decoder doubles frames of {frame_shape[1]} x {frame_shape[2]} {len(others)} times: that does not "
            f"lead to the split's {out_shape[1]} x {out_shape[2]}; change light.strides or the length of light.decoder"
        )
    return Chain(frame_shape, blocks)


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
