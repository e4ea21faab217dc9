"""What a split network looks like, in plain data: enough to build it, to store it, and to count its bits.

No torch here: the bundle's manifest carries a `NetworkSpec`, and an edge that runs its head without torch reads it too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from shared.errors import SpecError
from shared.plain_data import dataclass_from

Shape = tuple[int, int, int]
"""(channels, height, width) of one sample at one timestep."""

Backbone = Literal["resnet18", "vgg16"]
Stem = Literal["cifar", "imagenet"]
Shortcut = Literal["currents", "spikes"]
InputKind = Literal["static", "events"]
LightStart = Literal["input", "split"]
Surrogate = Literal["atan", "fast_sigmoid", "sigmoid", "triangular"]

SPLITS: Mapping[str, tuple[str, ...]] = {
    "resnet18": ("stem", "layer1", "layer2", "layer3", "layer4"),
    "vgg16": ("block1", "block2", "block3", "block4", "block5"),
}

RESNET_BLOCKS = (2, 2, 2, 2)
"""Residual blocks of layer1..layer4 of the published ResNet-18."""

VGG_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of VGG-16's block1..block5; each block ends in max pooling."""

FLOAT_BITS = 32
"""What a value of an uncompressed feature map counts: it is float32."""

LIMITS: Mapping[str, int] = {"timesteps": 1024, "classes": 65_536, "width": 4096}
"""What a network may have of each: a description that asks for more is damaged, and would take all memory."""

SIDE_LIMIT = 4096
"""Pixels along each side of an input, and channels of any layer that a description names."""

SAMPLE_LIMIT = 1 << 27
"""Values of one sample: 128 MiB of uint8."""

BLOCK_LIMIT = 64
"""Residual blocks of a stage, and layers of a light head or of its decoder."""


@dataclass(frozen=True)
class NeuronSpec:
    """A leaky integrate-and-fire neuron with reset by subtraction; leak 1 makes it integrate-and-fire.

    `initial_membrane` at half the threshold makes the spike count after T timesteps a *rounded* instead of a
    truncated image of the input, which is what carries a quantised network over to spikes (Bu et al.,
    "Optimal ANN-SNN Conversion for High-accuracy and Ultra-low-latency Spiking Neural Networks", ICLR 2022).

    Attributes:
        leak: what a membrane is multiplied by at each timestep, in (0, 1].
        threshold: the membrane at which it fires, and what a spike subtracts.
        initial_membrane: before the first timestep.
        surrogate: the function whose gradient stands for the spike's in training.
        slope: of the surrogate.
    """

    leak: float = 1.0
    threshold: float = 1.0
    initial_membrane: float = 0.5
    surrogate: Surrogate = "atan"
    slope: float = 2.0

    @property
    def counts_by_rounding(self) -> bool:
        """Whether its spike count under a constant current is that current, rounded: what `rate` and quantised
        training compute with."""
        return self.leak == 1.0 and self.initial_membrane == self.threshold / 2

    def __post_init__(self) -> None:
        if not 0.0 < self.leak <= 1.0:
            raise SpecError(f"neuron.leak is {self.leak}: it must lie in (0, 1]")
        if not 0.0 < self.threshold < math.inf:
            raise SpecError(f"neuron.threshold is {self.threshold}: it must be positive and finite")
        if not -math.inf < self.initial_membrane <= self.threshold:
            raise SpecError(
                f"neuron.initial_membrane is {self.initial_membrane}: finite, and it must not exceed the threshold"
            )
        if self.surrogate not in get_args(Surrogate):
            raise SpecError(f"neuron.surrogate is {self.surrogate!r}: one of {', '.join(get_args(Surrogate))}")
        if not 0.0 < self.slope < math.inf:
            raise SpecError(f"neuron.slope is {self.slope}: it must be positive and finite")


@dataclass(frozen=True)
class BottleneckSpec:
    """The learned compressor at the split.

    Attributes:
        channels: binary channels of a frame.
        stride: divides each side of the feature map; 1, 2, 4 or 8.
    """

    channels: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.channels <= SIDE_LIMIT:
            raise SpecError(f"bottleneck.channels is {self.channels}: it must lie in 1..{SIDE_LIMIT}")
        if self.stride not in (1, 2, 4, 8):
            raise SpecError(f"bottleneck.stride is {self.stride}: one of 1, 2, 4, 8")


@dataclass(frozen=True)
class LightHeadSpec:
    """Small convolutions in front of the encoder, straight from the input or behind the backbone's layers at the edge.

    The cloud's decoder is larger in return: it computes from the frames what the split's own layers compute.

    Attributes:
        channels: of the 3 x 3 convolutions. The encoder behind them is 1 x 1.
        strides: of the same convolutions, as many as channels.
        decoder: channels of the decoder at the size of a frame and after each doubling, up to the split's size.
        start: `input`: a light head, which replaces the backbone's layers up to the split; `split`: a deep encoder,
            which reads what those layers give.
    """

    channels: tuple[int, ...] = (48, 96, 96)
    strides: tuple[int, ...] = (2, 2, 1)
    decoder: tuple[int, ...] = (128, 96, 64)
    start: LightStart = "input"

    def __post_init__(self) -> None:
        if not self.channels or len(self.channels) != len(self.strides):
            raise SpecError(
                f"light.channels is {self.channels}, light.strides {self.strides}: as many of each, one or more"
            )
        if not self.decoder or max(len(self.channels), len(self.decoder)) > BLOCK_LIMIT:
            raise SpecError(f"light.channels and light.decoder must have 1 to {BLOCK_LIMIT} numbers each")
        if not all(1 <= channels <= SIDE_LIMIT for channels in (*self.channels, *self.decoder)):
            raise SpecError(f"light.channels and light.decoder must lie in 1..{SIDE_LIMIT}")
        if self.start not in get_args(LightStart):
            raise SpecError(f"light.start is {self.start!r}: one of {', '.join(get_args(LightStart))}")
        if not set(self.strides) <= {1, 2, 4}:
            raise SpecError(f"light.strides is {self.strides}: each one of 1, 2, 4")


@dataclass(frozen=True)
class NetworkSpec:
    """One spiking backbone, where it is cut, and what stands at the cut.

    Attributes:
        backbone: the published network that it follows.
        input_shape: (channels, height, width) of a sample at one timestep.
        classes: how many there are.
        split: the stage after which the network is cut. resnet18: stem, layer1..layer4; vgg16: block1..block5.
        width: channels of the first stage; the others follow it. 64 is the published full width.
        timesteps: T, the most that a sample takes.
        stem: of resnet18: one 3 x 3 convolution for small pictures, or the one for ImageNet.
        input_kind: `static` pictures are shown at every timestep, `events` are frames of counts.
        neuron: of all spiking layers.
        bottleneck: the compressor at the split; null sends the split's own spikes.
        blocks: of resnet18: how many residual blocks layer1..layer4 have.
        shortcut: of resnet18: what goes along its shortcuts. `spikes` is as in the published network
            (`shared.models.layers` has both).
        light: convolutions before the encoder, behind the backbone's layers up to the split or in their place.
    """

    backbone: Backbone
    input_shape: Shape
    classes: int
    split: str
    width: int = 64
    timesteps: int = 4
    stem: Stem = "cifar"
    input_kind: InputKind = "static"
    neuron: NeuronSpec = field(default_factory=NeuronSpec)
    bottleneck: BottleneckSpec | None = None
    blocks: tuple[int, ...] = RESNET_BLOCKS
    shortcut: Shortcut = "currents"
    light: LightHeadSpec | None = None

    def __post_init__(self) -> None:
        if self.backbone not in SPLITS:
            raise SpecError(f"backbone is {self.backbone!r}: one of {', '.join(SPLITS)}")
        if self.split not in SPLITS[self.backbone]:
            raise SpecError(f"split is {self.split!r}: {self.backbone} has {', '.join(SPLITS[self.backbone])}")
        if self.stem not in get_args(Stem):
            raise SpecError(f"stem is {self.stem!r}: one of {', '.join(get_args(Stem))}")
        if self.stem == "imagenet" and self.backbone == "vgg16":
            raise SpecError("stem 'imagenet' belongs to resnet18: vgg16 has none, leave it at 'cifar'")
        if self.shortcut not in get_args(Shortcut):
            raise SpecError(f"shortcut is {self.shortcut!r}: one of {', '.join(get_args(Shortcut))}")
        if len(self.blocks) != len(RESNET_BLOCKS) or not all(1 <= count <= BLOCK_LIMIT for count in self.blocks):
            raise SpecError(f"blocks is {self.blocks}: four numbers in 1..{BLOCK_LIMIT}, for layer1 to layer4")
        if self.backbone == "vgg16" and (self.blocks != RESNET_BLOCKS or self.shortcut != "currents"):
            raise SpecError("blocks and shortcut belong to resnet18: vgg16 has no residual blocks, leave them out")
        if self.light is not None and (self.bottleneck is None or self.bottleneck.stride != 1):
            raise SpecError("light needs network.bottleneck with stride 1: light.strides shrink the map")
        self._check_sizes()

    def _check_sizes(self) -> None:
        if self.input_kind not in get_args(InputKind):
            raise SpecError(f"input_kind is {self.input_kind!r}: one of {', '.join(get_args(InputKind))}")
        if len(self.input_shape) != 3 or not all(1 <= size <= SIDE_LIMIT for size in self.input_shape):
            raise SpecError(
                f"input_shape is {self.input_shape}: three numbers in 1..{SIDE_LIMIT}, channels, height, width"
            )
        for name, limit in LIMITS.items():
            if not 1 <= getattr(self, name) <= limit:
                raise SpecError(f"{name} is {getattr(self, name)}: it must lie in 1..{limit}")
        if math.prod(self.sample_shape) > SAMPLE_LIMIT:
            raise SpecError(f"a sample of {self.sample_shape} values is larger than {SAMPLE_LIMIT} bytes")

    @property
    def backbone_at_edge(self) -> bool:
        """Whether the edge runs the backbone's own layers up to the split."""
        return self.light is None or self.light.start == "split"

    @property
    def uncompressed(self) -> NetworkSpec:
        """The same network without a bottleneck, and so without a light head."""
        return replace(self, bottleneck=None, light=None)

    @property
    def sample_shape(self) -> Shape | tuple[int, int, int, int]:
        """Of the array that is one sample: a picture [C, H, W], or event frames [T, C, H, W]."""
        return self.input_shape if self.input_kind == "static" else (self.timesteps, *self.input_shape)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON or TOML; `from_dict` reads it back to an equal spec."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkSpec:
        """Build from plain values.

        Raises:
            ConfigError: a field is unknown, missing, of the wrong type, or out of range; its name is in the message.
        """
        return dataclass_from(cls, values)
