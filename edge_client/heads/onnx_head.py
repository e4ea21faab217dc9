"""Runs the head by onnxruntime on the CPU, from the bundle's graphs. A small device needs no torch.

Membranes go from one step's outputs to the next one's inputs as onnxruntime's own values; they are never copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.base import InputArray
from edge_client.heads.embedding import Embedding
from edge_client.heads.rate_head import RateHead
from shared.bundle import Bundle
from shared.onnx_session import check_installed, open_session
from shared.spike_codec import Spikes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, OrtValue


class OnnxHead:
    """See the module.

    Args:
        bundle: its graphs are read, the head's weights and the tail are not.
        threads: of onnxruntime's operations.
        int8: run the quantised step.

    Raises:
        BundleError: a graph is missing or damaged.
        ConfigError: onnxruntime is not installed, or the bundle has no such graphs.
    """

    def __init__(self, bundle: Bundle, threads: int = 1, *, int8: bool = False) -> None:
        check_installed()
        from onnxruntime import OrtValue  # noqa: PLC0415  an edge may run on torch instead

        self._value = OrtValue.ortvalue_from_numpy
        self._embed_session = open_session(bundle, "head-embed", threads)
        self._step = StepGraph(open_session(bundle, "head-step-int8" if int8 else "head-step", threads))
        membrane = bundle.manifest.network.neuron.initial_membrane
        # never written, so all samples start from the same arrays
        self._initial = [self._value(np.full(shape, membrane, np.float32)) for shape in self._step.membranes]
        self._embedding = Embedding(bundle.manifest, self._embed)

    def start(self, pixels: InputArray) -> OnnxHeadRun:
        """Embed a picture; event frames are embedded when they are due."""
        return OnnxHeadRun(self._step, self._embedding.currents(pixels), self._initial)

    def _embed(self, frame: NDArray[np.float32]) -> OrtValue:
        (current,) = self._embed_session.run_with_ort_values(["current"], {"frame": self._value(frame)})
        return current


class OnnxHeadRun:
    """One sample in an `OnnxHead`."""

    def __init__(self, step: StepGraph, currents: Iterator[OrtValue], state: Sequence[OrtValue]) -> None:
        self._step = step
        self._currents = currents
        self._state = state

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep."""
        spikes, self._state = self._step(next(self._currents), self._state)
        return spikes


class StepGraph:
    """The step graph as a function of (current, membranes)."""

    def __init__(self, session: InferenceSession) -> None:
        self._run = session.run_with_ort_values
        self._inputs = [value.name for value in session.get_inputs()]
        self._outputs = [value.name for value in session.get_outputs()]
        self.membranes = [tuple(value.shape) for value in session.get_inputs()[1:]]

    def __call__(self, current: OrtValue, state: Sequence[OrtValue]) -> tuple[Spikes, Sequence[OrtValue]]:
        """The spikes [C', H', W'] and the membranes after them."""
        spikes, *after = self._run(self._outputs, dict(zip(self._inputs, (current, *state), strict=True)))
        out: Spikes = spikes.numpy()[0]
        return out, after


def open_onnx_rate_head(bundle: Bundle, threads: int = 1, *, int8: bool = False) -> RateHead:
    """The head of the `rate` execution, run by onnxruntime on the CPU.

    Args:
        bundle: its graph is read, the head's weights and the tail are not.
        threads: of onnxruntime's operations.
        int8: with integer weights and activations.

    Raises:
        BundleError: the graph is missing or damaged.
        ConfigError: onnxruntime is not installed, or the bundle has no such graph.
    """
    check_installed()
    session = open_session(bundle, "head-rate-int8" if int8 else "head-rate", threads)

    def currents(frame: NDArray[np.float32]) -> NDArray[np.float32]:
        (current,) = session.run(["current"], {"frame": frame})
        out: NDArray[np.float32] = current[0]
        return out

    return RateHead(bundle.manifest, currents)
