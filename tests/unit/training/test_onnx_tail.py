"""The graph of the spiking tail against the network it was written from: every cut, every kind of block and neuron."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

from shared.bundle_writer import as_stored
from shared.models.load import export_weights
from shared.models.split import CloudNetwork, SplitNetwork
from shared.network_spec import SPLITS, Backbone, BottleneckSpec, NetworkSpec, NeuronSpec
from shared.onnx_session import session_of
from tests.support.bundles import lively_network, random_inputs, wire_frames
from training.onnx_tail import tail_step_graph

CUTS = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
LEAKY = NeuronSpec(leak=0.9, threshold=1.0, initial_membrane=0.5)
BATCH = 3
NEAR = 2e-5
"""Of a threshold; currents differ by less."""


def rounded(network: SplitNetwork) -> CloudNetwork:
    """Its cloud half with the weights that a bundle would hold."""
    with torch.no_grad():
        for value in network.cloud.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.from_numpy(as_stored(value.numpy()).astype(np.float32)))
    return network.cloud


def assert_the_same(network: SplitNetwork) -> None:
    """Step both over T timesteps of a batch: logits and membranes are the reference's.

    Samples with a membrane so near its threshold that rounding may flip a spike are left out.
    """
    frames = wire_frames(network, random_inputs(network.spec, BATCH, seed=4))
    cloud = rounded(network)
    weights = {name: as_stored(value) for name, value in export_weights(cloud).items()}
    step = session_of(tail_step_graph(cloud).SerializeToString(), 1, weights)
    compared = 0
    with torch.inference_mode():
        state = cloud.initial_state(BATCH)
        for frame in frames:
            feeds: dict[str, Any] = {
                f"membrane{index}": np.array(membrane.numpy()) for index, membrane in enumerate(state)
            }
            logits, state = cloud.step(torch.from_numpy(frame).float(), state)
            graph_logits, *after = step.run(None, {"frame": frame, **feeds})
            clear = np.array([all(is_clear(membrane[one], network.spec) for membrane in state) for one in range(BATCH)])
            compared += int(clear.sum())
            expected = logits.numpy().reshape(graph_logits.shape)
            np.testing.assert_allclose(graph_logits[clear], expected[clear], atol=1e-3)
            for membrane, graph_membrane in zip(state, after, strict=True):
                np.testing.assert_allclose(graph_membrane[clear], membrane.numpy()[clear], atol=1e-3)
    assert compared > 0.5 * BATCH * len(frames)
    assert 0.0 < frames.mean() < 1.0, "a silent network shows nothing"


def is_clear(membrane: torch.Tensor, spec: NetworkSpec) -> bool:
    """Whether no rounding decides on a spike."""
    return bool((membrane - spec.neuron.threshold).abs().min() > NEAR)


@pytest.mark.parametrize("bottleneck", [None, BottleneckSpec(2, 1), BottleneckSpec(3, 2)], ids=str)
@pytest.mark.parametrize(("backbone", "split"), CUTS)
def test_the_same_logits_and_membranes_for_every_cut(
    backbone: Backbone, split: str, bottleneck: BottleneckSpec | None
) -> None:
    spec = NetworkSpec(backbone, (2, 16, 16), 5, split, width=4, neuron=LEAKY, bottleneck=bottleneck)
    assert_the_same(lively_network(spec, seed=5))


@pytest.mark.parametrize(
    "neuron", [NeuronSpec(), NeuronSpec(threshold=2.0, initial_membrane=1.0), NeuronSpec(0.8, 1.3, -0.2)], ids=str
)
@pytest.mark.parametrize("shortcut", ["currents", "spikes"])
def test_every_neuron_and_shortcut(neuron: NeuronSpec, shortcut: Any) -> None:
    spec = NetworkSpec("resnet18", (3, 16, 16), 5, "stem", width=4, neuron=neuron, shortcut=shortcut)
    assert_the_same(lively_network(spec, seed=2))


def test_the_graph_holds_no_weights() -> None:
    cloud = lively_network(NetworkSpec("resnet18", (1, 16, 16), 5, "layer1", width=4)).cloud
    graph = tail_step_graph(cloud).graph
    outside = {tensor.name: list(tensor.dims) for tensor in graph.initializer if tensor.external_data}
    assert outside == {name: list(value.shape) for name, value in export_weights(cloud).items()}
    inside = [onnx.numpy_helper.to_array(tensor).size for tensor in graph.initializer if not tensor.external_data]
    assert max(inside) <= 4
