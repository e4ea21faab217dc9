"""`neucodex-train export --runtime`: a bundle's head for a runtime without torch, written into the bundle."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle, Extra, write_graphs
from shared.errors import ConfigError
from shared.models.load import load_edge
from training.spikes import dataset_samples, spread

Runtime = Literal["onnx", "onnx-int8"]


def add_graphs(bundle: Bundle, runtimes: Collection[Runtime], samples: Callable[[], NDArray[np.uint8]]) -> Bundle:
    """Write the head's ONNX graphs into a bundle, in place of those it may have; it gets another fingerprint by it.

    Args:
        bundle: gets them.
        runtimes: "onnx-int8" writes the quantised step beside the plain one.
        samples: training samples, asked for if there is something to quantise.
    """
    from training.onnx_graph import embed_graph, step_graph  # noqa: PLC0415  what needs no ONNX runs without it

    edge = load_edge(bundle)
    step = step_graph(edge)
    graphs: dict[Extra, bytes] = {
        "head-embed": embed_graph(edge).SerializeToString(deterministic=True),
        "head-step": step.SerializeToString(deterministic=True),
    }
    if "onnx-int8" in runtimes:
        from training.onnx_int8 import SAMPLES, quantised_step  # noqa: PLC0415  needs onnxruntime

        quantised = quantised_step(bundle, step, spread(samples(), SAMPLES))
        graphs["head-step-int8"] = quantised.SerializeToString(deterministic=True)
    return write_graphs(bundle, graphs)


def dataset_reader(bundle: Bundle, name: str | None, data: Path | None) -> Callable[[], NDArray[np.uint8]]:
    """What reads the training part of a bundle's data set, which its provenance names unless `name` does."""

    def read() -> NDArray[np.uint8]:
        known = name or bundle.manifest.provenance.get("data", {}).get("name")
        if not isinstance(known, str):
            raise ConfigError("int8 needs samples to observe currents on: name the data set with --dataset")
        return dataset_samples(bundle, known, data, "train", allow_partial=True)

    return read
