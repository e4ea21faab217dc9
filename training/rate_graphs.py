"""The graphs of the `rate` execution: written from a network, and the integer ones kept where they are as accurate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.errors import ConfigError
from shared.manifest import Extra, Normalisation, file_name
from shared.models.rate import EncoderNeurons
from shared.models.split import SplitNetwork
from shared.onnx_session import session_of
from training.data import Samples, evenly_spaced
from training.device import Machine
from training.evaluate import step_logits
from training.executed import LEVELS, ByLayer, Executed, Rate
from training.onnx_rate import rate_head_graph, rate_tail_graph
from training.onnx_rate_int8 import rate_head_int8, rate_tail_int8

MOST_LOST = 0.001
"""The share of held-out samples that an integer graph may lose at full T, net of gains and beyond chance."""

MEASURED = 5000
"""Held-out samples that integer graphs are measured on."""

MEASURED_FILE = "graphs.json"

PARTS: tuple[Extra, ...] = ("head-rate", "head-rate-int8", "tail-rate", "tail-rate-int8")

CPU = Machine(torch.device("cpu"), bfloat16=False)


@dataclass(frozen=True)
class RateGraphs:
    """The graphs for a bundle, and their measurements.

    A part is None if it is an integer graph that costs too much, or the float tail whose integer form does not.
    """

    parts: Mapping[Extra, bytes | None]
    measured: Mapping[str, Any]

    @property
    def head(self) -> bytes:
        """The graph that an edge runs by default."""
        return _first(self.parts, "head-rate-int8", "head-rate")

    @property
    def tail(self) -> bytes:
        """The graph that a cloud runs on a CPU by default."""
        return _first(self.parts, "tail-rate-int8", "tail-rate")

    def save(self, folder: Path) -> None:
        """Write the graphs into a folder; they replace those that are there."""
        folder.mkdir(parents=True, exist_ok=True)
        for part, graph in self.parts.items():
            file = folder / file_name(part)
            if graph is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(graph)
        (folder / MEASURED_FILE).write_text(json.dumps(self.measured, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> RateGraphs:
        """Read the graphs that `save` wrote.

        Raises:
            ConfigError: no graphs are there, or not all.
        """
        try:
            files = {part: folder / file_name(part) for part in PARTS}
            parts = {part: file.read_bytes() if file.exists() else None for part, file in files.items()}
            measured = json.loads((folder / MEASURED_FILE).read_text())
        except OSError as error:
            raise ConfigError(f"{error.filename} is missing: run `neucodex-train calibrate` first") from None
        return cls(parts, measured)


def rate_graphs(network: SplitNetwork, held_out: Samples | None, normalisation: Normalisation) -> RateGraphs:
    """Write the graphs of a network, and compare the integer graphs with the float ones on held-out samples.

    Args:
        network: with a bottleneck, in float32.
        held_out: samples that no weight was trained on; with None there are no integer graphs.
        normalisation: of the network's inputs.
    """
    edge, cloud = network.edge, network.cloud
    parts: dict[Extra, bytes | None] = {
        "head-rate": rate_head_graph(edge, LEVELS).SerializeToString(deterministic=True),
        "head-rate-int8": rate_head_int8(edge, LEVELS).SerializeToString(deterministic=True),
        "tail-rate": rate_tail_graph(cloud, LEVELS).SerializeToString(deterministic=True),
        "tail-rate-int8": rate_tail_int8(cloud, LEVELS).SerializeToString(deterministic=True),
    }
    if held_out is None:
        return RateGraphs({part: graph for part, graph in parts.items() if not part.endswith("int8")}, {})
    frames, labels = (evenly_spaced(part.numpy(), MEASURED) for part in (held_out.frames, held_out.labels))
    samples = Samples(torch.from_numpy(frames), torch.from_numpy(labels))

    def right(head: Extra, tail: Extra) -> NDArray[np.bool_]:
        executed = OnnxRate(network, _first(parts, head), _first(parts, tail))
        logits = step_logits(executed, samples, normalisation, network.spec.input_kind, CPU)
        found: NDArray[np.bool_] = logits[-1].argmax(1).numpy() == labels
        return found

    plain = right("head-rate", "tail-rate")
    integer_tail = right("head-rate", "tail-rate-int8")
    if costs_too_much(plain, integer_tail):
        parts["tail-rate-int8"] = None
    integer = right("head-rate-int8", "tail-rate" if parts["tail-rate-int8"] is None else "tail-rate-int8")
    if costs_too_much(plain, integer):
        parts["head-rate-int8"] = None
    if parts["tail-rate-int8"] is not None:
        parts["tail-rate"] = None  # it is four times as large, and nothing would run it
    measured = {
        "samples": len(labels),
        "float32_accuracy_full_t": round(float(plain.mean()), 5),
        "integer_tail_accuracy_full_t": round(float(integer_tail.mean()), 5),
        "integer_head_accuracy_full_t": round(float(integer.mean()), 5),
        "most_lost": MOST_LOST,
        "written": sorted(part for part in ("head-rate-int8", "tail-rate-int8") if parts[part] is not None),
    }
    return RateGraphs(parts, {"int8": measured})


def costs_too_much(plain: NDArray[np.bool_], integer: NDArray[np.bool_]) -> bool:
    """Whether an integer graph loses more than `MOST_LOST` of the samples, beyond chance.

    Chance is one standard error of the difference: the root of the number of samples that only one of the two gets
    right.

    Args:
        plain: whether the float graph was right, [N].
        integer: whether the integer graph was, [N].
    """
    differ = int((plain != integer).sum())
    return int(plain.sum()) - int(integer.sum()) > MOST_LOST * len(plain) + math.sqrt(differ)


class OnnxRate:
    """An `Executed` network in `rate`, run by its graphs as the deployed pair runs them.

    Args:
        network: that the graphs were written from.
        head, tail: the graphs.
    """

    def __init__(self, network: SplitNetwork, head: bytes, tail: bytes) -> None:
        self.network = network
        self._neurons = EncoderNeurons(network.edge)
        self._head, self._tail = (session_of(graph, torch.get_num_threads()) for graph in (head, tail))

    def frames(self, inputs: Tensor) -> Tensor:
        flat = inputs if inputs.dim() == 4 else inputs.flatten(0, 1)
        currents = np.concatenate([self._head.run(["current"], {"frame": one[np.newaxis]})[0] for one in flat.numpy()])
        shaped = torch.from_numpy(currents).view(*inputs.shape[:-3], *currents.shape[1:])
        return self._neurons.frames(shaped)

    def logits(self, frames: Tensor) -> Tensor:
        sums = frames.cumsum(0).to(torch.uint8).numpy()
        steps = []
        for timestep, total in enumerate(sums, 1):
            feeds = {"sum": total, "timesteps": np.full(len(total), timestep, np.float32)}
            steps.append(torch.from_numpy(self._tail.run(["logits"], feeds)[0]))
        return torch.stack(steps)

    def by_layer(self) -> ByLayer:
        return Rate(self.network.edge, self.network.cloud, LEVELS, LEVELS)


def write_rate_graphs(bundle: Bundle, graphs: RateGraphs) -> Bundle:
    """Write the graphs into a bundle; they replace those it has. Its chosen execution stays."""
    return write_graphs(bundle.run_as("rate"), graphs.parts, graphs.measured).run_as(bundle.execution)


def executed_by_graphs(bundle: Bundle, network: SplitNetwork) -> Executed | None:
    """A bundle's `rate` execution by its graphs; None if it has none."""
    graphs = RateGraphs({part: bundle.graph(part) for part in PARTS}, {})
    if graphs.parts["head-rate"] is None:
        return None
    return OnnxRate(network, graphs.head, graphs.tail)


def _first(parts: Mapping[Extra, bytes | None], *names: Extra) -> bytes:
    return next(graph for name in names if (graph := parts.get(name)) is not None)
