"""`neucodex-train export --runtime`: a bundle's spiking network for runtimes without torch, written into the bundle."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.errors import ConfigError
from shared.manifest import Extra
from shared.models.load import load_cloud, load_edge
from training.collect_spikes import SpikeTrain, bundle_spikes, cloud_answers
from training.data import Samples, bundle_data, evenly_spaced

GraphRuntime = Literal["onnx", "onnx-int8"]
RUNTIMES: tuple[GraphRuntime, ...] = get_args(GraphRuntime)

MEASURED = 1000
"""How many held-out samples a quantised head is measured on."""

MOST_LOST = 0.02
"""How many more of them a quantised head may get wrong at full T than the float head. A worse one is not written."""

log = logging.getLogger("neucodex.train")


def add_graphs(
    bundle: Bundle,
    runtimes: Collection[GraphRuntime],
    samples: Callable[[], NDArray[np.uint8]],
    held_out: Callable[[], Samples | None] = lambda: None,
) -> Bundle:
    """Write the ONNX graphs of the spiking head and tail into a bundle. They replace those it has.

    Its fingerprint changes.

    Args:
        bundle: the one that is changed.
        runtimes: "onnx-int8" writes the quantised step beside the plain one.
        samples: training samples, asked for if there is something to quantise.
        held_out: samples that the quantised step is measured on. It is not written if it costs more than `MOST_LOST`;
            the measurement goes into the execution's `measured["int8"]`. Without samples it is written unmeasured.
    """
    from training.onnx_graph import embed_graph, step_graph  # noqa: PLC0415  what needs no ONNX runs without it
    from training.onnx_tail import tail_step_graph  # noqa: PLC0415

    chosen, bundle = bundle.execution, bundle.run_as("spiking")
    edge = load_edge(bundle)
    step = step_graph(edge)
    graphs: dict[Extra, bytes | None] = {
        "head-embed": embed_graph(edge).SerializeToString(deterministic=True),
        "head-step": step.SerializeToString(deterministic=True),
        "tail-step": tail_step_graph(load_cloud(bundle)).SerializeToString(deterministic=True),
    }
    if "onnx-int8" in runtimes:
        from training.onnx_int8 import SAMPLES, graph_spikes, quantised_step  # noqa: PLC0415  needs onnxruntime

        quantised = quantised_step(bundle, step, evenly_spaced(samples(), SAMPLES))
        graphs["head-step-int8"] = quantised.SerializeToString(deterministic=True)
        known = held_out()
        if known is not None:
            frames, labels = (evenly_spaced(part.numpy(), MEASURED) for part in (known.frames, known.labels))
            measured = _cost(bundle, frames, labels, graph_spikes(bundle, quantised, frames))
            if not measured["written"]:
                graphs["head-step-int8"] = None
            return write_graphs(bundle, graphs, {"int8": measured}).run_as(chosen)
    return write_graphs(bundle, graphs).run_as(chosen)


def held_out_samples(bundle: Bundle, data: Path | None) -> Samples | None:
    """The samples that were held out when a bundle was trained; None if the bundle does not name them."""
    try:
        return bundle_data(bundle, data).held_out
    except ConfigError as error:
        log.warning("the quantised head is not measured: %s", error)
        return None


def _cost(
    bundle: Bundle, samples: NDArray[np.uint8], labels: NDArray[np.int64], quantised: SpikeTrain
) -> dict[str, int | float | bool]:
    """The cloud's accuracy with a quantised head's spikes, and with those of the head itself."""
    plain = bundle_spikes(bundle, samples)
    right, right_quantised = (int((cloud_answers(bundle, spikes) == labels).sum()) for spikes in (plain, quantised))
    written = right - right_quantised <= MOST_LOST * len(labels)
    accuracy, accuracy_int8 = right / len(labels), right_quantised / len(labels)
    differ = float((plain != quantised).mean())
    (log.info if written else log.warning)(
        "int8: %.2f %% of the spikes differ; accuracy at full T %.2f %% instead of %.2f %%, %d held-out samples%s",
        100 * differ, 100 * accuracy_int8, 100 * accuracy, len(labels), "" if written else ": not written",
    )  # fmt: skip
    return {
        "samples": len(labels),
        "spikes_that_differ": round(differ, 5),
        "accuracy_full_t": round(accuracy_int8, 5),
        "float32_accuracy_full_t": round(accuracy, 5),
        "most_lost": MOST_LOST,
        "written": written,
    }
