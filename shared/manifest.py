"""A bundle's manifest: everything about a trained network but its weights, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from shared.execution import Execution
from shared.exit_policy import ExitPolicy
from shared.network_spec import NetworkSpec, Shape
from shared.picture_fit import PictureFit

Half = Literal["head", "tail"]
Extra = Literal[
    "codec-rate", "codec-spiking", "exit-rate", "exit-spiking",
    "head-embed", "head-step", "head-step-int8", "head-rate", "head-rate-int8",
    "tail-step", "tail-rate", "tail-rate-int8",
]  # fmt: skip
BundlePart = Half | Extra

HALVES: tuple[Half, ...] = get_args(Half)
EXTRAS: tuple[Extra, ...] = get_args(Extra)
"""The parts that a bundle may have besides its weights.

codec-*: the spike codec's tables for one execution, needed on both machines;  exit-*: the weights of the edge's local
exit;  head-embed, head-step, head-step-int8: the spiking head as ONNX graphs, the first convolution and one timestep of
the rest;  tail-step: one timestep of the spiking tail, a graph whose weights are those of the tail;  head-rate,
head-rate-int8: the head that runs once;  tail-rate, tail-rate-int8: the tail on a sum of frames.
"""

_GRAPHS = ("head-", "tail-")


@dataclass(frozen=True)
class Normalisation:
    """What the head expects: (pixel * scale - mean) / std for each channel.

    Attributes:
        scale: what a value is multiplied by first. Pixels are 0..255, events are counts.
        mean: of each channel, after scaling.
        std: standard deviation of each channel, after scaling.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class LocalExitSpec:
    """The edge's small classifier: its pooling and its calibration.

    Attributes:
        pools: sides of the squares over which the mean spikes, and then the features, are averaged.
        temperature: divides its logits before the softmax.
        exit_policy: when the edge may answer with it before anything was sent.
    """

    pools: tuple[int, int]
    temperature: float
    exit_policy: ExitPolicy


@dataclass(frozen=True)
class ExecutionSpec:
    """The settings and measurements of the network in one execution.

    Attributes:
        temperature: divides the logits before the softmax.
        exit_policy: when the edge stops.
        readout_leak: of `spiking`. An answer is read from the mean of the logits so far, in which a timestep weighs
            `readout_leak` times the one after it; 1 weighs all the same.
        head_levels: of `rate`. The activations of the head have values 0, 1/levels, ... 1.
        tail_levels: of `rate`. The same of decoder and tail.
        local_exit: there where the bundle has the part `exit-*` of this execution.
        measured: calibration, accuracies on test samples, the local exit's; for people and for `--lookahead auto`.
    """

    temperature: float
    exit_policy: ExitPolicy
    readout_leak: float = 1.0
    head_levels: int = 8
    tail_levels: int = 8
    local_exit: LocalExitSpec | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle but its weights.

    Attributes:
        name: of the bundle, for people.
        network: the network's architecture.
        frame_shape: (channels, height, width) of the spikes on the wire.
        split_shape: (channels, height, width) of the feature map that the spikes stand for.
        class_names: of the classes, in the order of the logits.
        normalisation: what is done to pixels and event counts before the head.
        executions: those that the weights can run in, with the settings of each.
        default_execution: the one that was more accurate on held-out samples.
        provenance: how the bundle was made (data set, recipe, commit, seed), for people.
        fit: how a picture gets the network's size. `cut` keeps the aspect and cuts the rest off, `stretch` keeps the
            whole picture.
    """

    name: str
    network: NetworkSpec
    frame_shape: Shape
    split_shape: Shape
    class_names: tuple[str, ...]
    normalisation: Normalisation
    executions: Mapping[Execution, ExecutionSpec]
    default_execution: Execution
    provenance: Mapping[str, Any]
    fit: PictureFit = "cut"

    def with_execution(self, execution: Execution, spec: ExecutionSpec) -> Manifest:
        """The same with another description of one execution."""
        return replace(self, executions={**self.executions, execution: spec})


@dataclass(frozen=True)
class StoredFile:
    """A file of a bundle.

    Attributes:
        name: of the file in the folder. `manifest.json` holds no names: they follow from the parts.
        sha256: of its bytes, in hexadecimal digits.
    """

    name: str
    sha256: str


def file_name(part: BundlePart) -> str:
    """The name of the file of a part."""
    return f"{part}.onnx" if part.startswith(_GRAPHS) else f"{part}.safetensors"
