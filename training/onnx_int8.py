"""The step graph with 8-bit convolutions: weights for each channel, currents for each layer, spikes as they are.

Spikes are 0 and 1, so their scale is set to 1: they lose nothing, and no processor's 16-bit intermediate sums overflow.
What is rounded are the weights and the currents, whose ranges are observed on samples. Membranes stay float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from shared.bundle import Bundle
from shared.models.load import load_edge
from shared.onnx_session import session_of
from training.collect_spikes import SpikeTrain
from training.data import to_input

Feeds = dict[str, NDArray[np.float32]]

SAMPLES = 64
"""Samples on which the ranges of the currents are observed."""

EMBEDDED = 64
"""Samples whose first convolution is in memory at once."""

ALL_CORES = 0
"""Threads, as onnxruntime counts them."""


def quantised_step(bundle: Bundle, step: onnx.ModelProto, samples: NDArray[np.uint8]) -> onnx.ModelProto:
    """The step graph of a bundle, quantised.

    Args:
        bundle: its weights embed the samples.
        step: of the same bundle, float32.
        samples: pictures [N, C, H, W] or event frames [N, T, C, H, W] like those it will see.
    """
    scale = {"scale": np.array(1.0, np.float32), "zero_point": np.array(0, np.uint8), "quant_type": QuantType.QUInt8}
    spikes = {node.input[0]: [scale] for node in step.graph.node if node.op_type == "Conv"}
    add_pre_process_metadata(step)  # everything is folded and inferred already: do not advise the user to do it
    with tempfile.TemporaryDirectory(prefix="neucodex-int8-") as folder:
        plain, quantised = Path(folder) / "step.onnx", Path(folder) / "step-int8.onnx"
        onnx.save(step, plain)
        quantize_static(
            plain,
            quantised,
            _Reader(feeds for feeds, _ in _steps(bundle, step, samples)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": spikes},
        )
        return onnx.load(quantised)


def graph_spikes(bundle: Bundle, step: onnx.ModelProto, samples: NDArray[np.uint8]) -> SpikeTrain:
    """The spikes [N, T, C, H, W] of a bundle's step graph for these samples."""
    spikes = [outputs[0][0] for _, outputs in _steps(bundle, step, samples)]
    return np.stack(spikes).reshape(len(samples), -1, *bundle.manifest.frame_shape)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterator[Feeds]) -> None:
        self._feeds = feeds

    def get_next(self) -> Feeds | None:
        return next(self._feeds, None)


@torch.inference_mode()
def _currents(bundle: Bundle, samples: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[T or 1, N, C, H, W]"""
    manifest = bundle.manifest
    inputs = to_input(torch.from_numpy(samples), manifest.normalisation, manifest.network.input_kind)
    currents: NDArray[np.float32] = load_edge(bundle).embed(inputs if inputs.ndim == 5 else inputs.unsqueeze(0)).numpy()
    return currents


def _steps(bundle: Bundle, step: onnx.ModelProto, samples: NDArray[np.uint8]) -> Iterator[tuple[Feeds, list[Any]]]:
    """Yield the inputs and outputs of a step graph, for each sample and timestep."""
    spec = bundle.manifest.network
    session = session_of(step.SerializeToString(), ALL_CORES)
    names = [value.name for value in session.get_inputs()]
    shapes = [value.shape for value in session.get_inputs()[1:]]
    for start in range(0, len(samples), EMBEDDED):
        currents = _currents(bundle, samples[start : start + EMBEDDED])
        for number in range(currents.shape[1]):
            state = [np.full(shape, spec.neuron.initial_membrane, np.float32) for shape in shapes]
            for timestep in range(spec.timesteps):
                current = currents[min(timestep, len(currents) - 1), number : number + 1]
                feeds = dict(zip(names, (current, *state), strict=True))
                outputs = session.run(None, feeds)
                yield feeds, outputs
                state = outputs[1:]
