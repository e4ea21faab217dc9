"""Writes the plain network: the uncompressed network's weights as an ordinary ONNX graph, in float32 and in int8.

Its activations are clipped where a neuron would fire at every timestep (those of a ReLU6 at another limit), without
levels. So it is as accurate as the network that the pair was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from benchmarks.testbed.plain_network import FLOAT, INT8
from shared.bundle import Bundle
from shared.models.inference import inference_form
from shared.models.load import load_network
from shared.models.split import SplitNetwork
from shared.network_spec import NeuronSpec
from training.activations import use

CALIBRATED_ON = 100
"""Pictures from which the ranges of the activations are taken."""


def write_plain(bundle: Bundle, pictures: NDArray[np.uint8], folder: Path) -> None:
    """Write both graphs into `folder`, for pictures of float32 pixels 0..255 [1, C, H, W].

    Args:
        bundle: the uncompressed network.
        pictures: [N, C, H, W], none of the test part; the int8 graph is calibrated on some.
        folder: receives FLOAT and INT8.

    Raises:
        BundleError: its files are missing or damaged.
    """
    network = _Plain(bundle).eval()
    example = torch.zeros(1, *bundle.manifest.network.input_shape)
    path, prepared = folder / FLOAT, folder / "prepared.onnx"
    torch.onnx.export(
        network, (example,), str(path), input_names=["pixels"], output_names=["logits"], dynamo=False, opset_version=17
    )
    quant_pre_process(str(path), str(prepared))
    quantize_static(
        str(prepared),
        str(folder / INT8),
        _Pictures(pictures[:CALIBRATED_ON]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


class _Plain(nn.Module):
    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        network, how = load_network(bundle), bundle.manifest.normalisation
        once = SplitNetwork(replace(network.spec, timesteps=1, input_kind="static"))
        once.edge, once.cloud = inference_form(network.edge), inference_form(network.cloud)
        use(once, _clip)
        self._network = once
        self._scale = how.scale
        self._mean, self._std = (torch.tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels 0..255 [B, C, H, W] -> logits [B, classes]."""
        logits: Tensor = self._network((pixels * self._scale - self._mean) / self._std)
        return logits[0]


def _clip(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    return (currents / spec.threshold).clamp(0.0, 1.0), membrane


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._each: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, Any] | None:
        picture = next(self._each, None)
        return None if picture is None else {"pixels": picture[np.newaxis].astype(np.float32)}
