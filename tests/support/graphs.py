"""Bundles with graphs for onnxruntime, those that a test asks for."""

from __future__ import annotations

from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.manifest import Extra
from shared.models.load import load_cloud, load_edge
from training.onnx_rate import rate_head_graph, rate_tail_graph
from training.onnx_rate_int8 import rate_head_int8, rate_tail_int8
from training.onnx_tail import tail_step_graph


def with_rate_graphs(bundle: Bundle, *parts: Extra) -> Bundle:
    """The bundle, in its rate execution, with these of the graphs that it may have."""
    levels = bundle.settings.head_levels, bundle.settings.tail_levels
    edge, cloud = load_edge(bundle), load_cloud(bundle)
    graphs: dict[Extra, bytes | None] = {
        "head-rate": rate_head_graph(edge, levels[0]).SerializeToString(deterministic=True),
        "head-rate-int8": rate_head_int8(edge, levels[0]).SerializeToString(deterministic=True),
        "tail-rate": rate_tail_graph(cloud, levels[1]).SerializeToString(deterministic=True),
        "tail-rate-int8": rate_tail_int8(cloud, levels[1]).SerializeToString(deterministic=True),
    }
    return write_graphs(bundle, {part: graphs[part] for part in parts})


def with_tail_step(bundle: Bundle) -> Bundle:
    """The bundle with the graph of its spiking tail."""
    return write_graphs(
        bundle, {"tail-step": tail_step_graph(load_cloud(bundle)).SerializeToString(deterministic=True)}
    )
