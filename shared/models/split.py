"""The network in its two halves: `EdgeNetwork` (head and encoder) and `CloudNetwork` (decoder and tail).

Each half has its own parameters, so that each machine builds and loads only its own; `SplitNetwork` is both, for
training and for tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.models.bottleneck import build_decoder, build_encoder
from shared.models.layers import Chain, ConvNorm, Readout, SpikingConv, SpikingModule, State, fold_time
from shared.models.neuron import Neuron
from shared.models.resnet import resnet18_entry, resnet18_stages
from shared.models.vgg import vgg16_entry, vgg16_stages
from shared.network_spec import SPLITS, LightHeadSpec, NetworkSpec, Shape

_ENTRY = {"resnet18": resnet18_entry, "vgg16": vgg16_entry}
_STAGES = {"resnet18": resnet18_stages, "vgg16": vgg16_stages}


class Entry(SpikingModule):
    """The network's first neuron and what follows it in the stem; its current comes from `EdgeNetwork.embed`."""

    def __init__(self, neuron: Neuron, after: list[SpikingModule]) -> None:
        super().__init__()
        self.neuron = neuron
        self.after = Chain(neuron.shape, after)
        self.in_shape = neuron.shape
        self.out_shape = self.after.out_shape
        self.neurons = (neuron, *self.after.neurons)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        spikes, membrane = self.neuron(x, state[0])
        out, rest = self.after(spikes, state[1:])
        return out, (membrane, *rest)


class EdgeNetwork(SpikingModule):
    """Head and encoder: from an input's current to the binary spikes that cross the link.

    The first convolution has no memory, and a static picture is the same at every timestep: `embed` is called once for
    a picture (once for each frame of events), `step` for each timestep.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding, self.head = _backbone_head(spec) if spec.light is None else _light_head(spec, spec.light)
        self.encoder = build_encoder(self.head.out_shape, spec)
        self.in_shape = self.head.in_shape
        self.out_shape = self.encoder.out_shape
        self.neurons = (*self.head.neurons, *self.encoder.neurons)

    def embed(self, frames: Tensor) -> Tensor:
        """Input frames [T, B, C, H, W] (T = 1 for a static picture) -> currents of the first neuron, the same T."""
        return fold_time(self.embedding, frames)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Currents [T, B, C1, H1, W1] from `embed` -> (spikes on the wire [T, B, C', H', W'], new state)."""
        features, head_state = self.head(x, state[: len(self.head.neurons)])
        spikes, encoder_state = self.encoder(features, state[len(self.head.neurons) :])
        return spikes, (*head_state, *encoder_state)


class CloudNetwork(SpikingModule):
    """Decoder, tail and readout: from the spikes on the wire to the logits of each timestep."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        with torch.device("meta"):  # the other half, for its shapes alone
            frame_shape = EdgeNetwork(spec).out_shape
        features = split_shape(spec)
        names = SPLITS[spec.backbone]
        self.decoder = build_decoder(frame_shape, features, spec)
        self.tail = _grow(features, [], spec, names[names.index(spec.split) + 1 :])
        self.readout = Readout(self.tail.out_shape, spec.classes)
        self.in_shape = self.decoder.in_shape
        self.out_shape = (spec.classes, 1, 1)
        self.neurons = (*self.decoder.neurons, *self.tail.neurons)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Spikes [T, B, C', H', W'] -> (logits of each timestep [T, B, classes], new state)."""
        decoder_count = len(self.decoder.neurons)
        features, decoder_state = self.decoder(x, state[:decoder_count])
        deep, tail_state = self.tail(features, state[decoder_count:])
        return self.readout(deep), (*decoder_state, *tail_state)


class SplitNetwork(nn.Module):
    """Both halves in one, as training sees them."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.edge = EdgeNetwork(spec)
        self.cloud = CloudNetwork(spec)

    def forward(self, frames: Tensor) -> Tensor:
        """All T timesteps from the initial state.

        Args:
            frames: [B, C, H, W] pictures, or [T, B, C, H, W] event frames.

        Returns:
            The logits of each single timestep, [T, B, classes].
        """
        return self.answers(self.spikes(frames))

    def spikes(self, frames: Tensor) -> Tensor:
        """The frames [T, B, C', H', W'] that the edge sends; inputs as in `forward`."""
        currents = self.currents(frames)
        spikes: Tensor
        spikes, _ = self.edge(currents, self.edge.initial_state(currents.shape[1], device=currents.device))
        return spikes

    def answers(self, spikes: Tensor) -> Tensor:
        """The cloud's logits [T, B, classes] from the spikes of all timesteps."""
        logits: Tensor
        logits, _ = self.cloud(spikes, self.cloud.initial_state(spikes.shape[1], device=spikes.device))
        return logits

    def currents(self, frames: Tensor) -> Tensor:
        """The first neuron's input over all T timesteps; a picture's is computed once and repeated without a copy."""
        if frames.dim() == 5:
            return self.edge.embed(frames)
        current = self.edge.embed(frames.unsqueeze(0))
        return current.expand(self.spec.timesteps, *current.shape[1:])


def split_shape(spec: NetworkSpec) -> Shape:
    """The shape of the backbone's features at the split, also with a light head."""
    with torch.device("meta"):  # for its shape alone
        _, head = _backbone_head(spec)
    return head.out_shape


def backbone_blocks_before(spec: NetworkSpec) -> int:
    """How many blocks of the backbone stand before the split, its entry among them."""
    with torch.device("meta"):  # for its blocks alone
        _, head = _backbone_head(spec)
    return len(head.blocks)


def _backbone_head(spec: NetworkSpec) -> tuple[ConvNorm, Chain]:
    """The backbone's first convolution, and all from its neuron to the split."""
    embedding, after = _ENTRY[spec.backbone](spec)
    entry = Entry(Neuron(embedding.out_shape, spec.neuron), after)
    names = SPLITS[spec.backbone]
    return embedding, _grow(entry.in_shape, [entry], spec, names[: names.index(spec.split) + 1])


def _light_head(spec: NetworkSpec, light: LightHeadSpec) -> tuple[ConvNorm, Chain]:
    """The edge's first convolution, and all from its neuron to the encoder."""
    sizes = list(zip(light.channels, light.strides, strict=True))
    blocks: list[SpikingModule]
    if light.start == "split":
        embedding, backbone = _backbone_head(spec)
        blocks = [block for block in backbone.blocks if isinstance(block, SpikingModule)]
    else:
        channels, stride = sizes.pop(0)
        embedding = ConvNorm(spec.input_shape, channels, stride=stride)
        blocks = [Entry(Neuron(embedding.out_shape, spec.neuron), [])]
    for channels, stride in sizes:
        blocks.append(SpikingConv(blocks[-1].out_shape, channels, spec.neuron, stride=stride))
    return embedding, Chain(embedding.out_shape, blocks)


def _grow(in_shape: Shape, blocks: list[SpikingModule], spec: NetworkSpec, names: Sequence[str]) -> Chain:
    """`blocks` and then the named stages of the backbone, each built for the output shape of the one before."""
    stages = _STAGES[spec.backbone](spec)
    for name in names:
        if name in stages:  # `stem` is the entry block, not a stage
            blocks = [*blocks, stages[name](blocks[-1].out_shape if blocks else in_shape)]
    return Chain(in_shape, blocks)
