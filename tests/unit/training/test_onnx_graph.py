"""The ONNX graphs against the network they were written from: every cut, every kind of neuron, state and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from shared.models.split import EdgeNetwork
from shared.network_spec import SPLITS, Backbone, BottleneckSpec, NetworkSpec, NeuronSpec, Stem
from tests.support.bundles import lively_network, random_inputs
from training.onnx_graph import embed_graph, step_graph

CUTS = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
LEAKY = NeuronSpec(leak=0.9, threshold=1.0, initial_membrane=0.5)
T = 5


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def assert_the_same(network: EdgeNetwork, inputs: torch.Tensor) -> None:
    """Step both over T timesteps of one picture."""
    embed, step = session(embed_graph(network)), session(step_graph(network))
    with torch.inference_mode():
        current = network.embed(inputs.unsqueeze(0))[0]
        (graph_current,) = embed.run(["current"], {"frame": inputs.numpy()})
        np.testing.assert_allclose(graph_current, current.numpy(), atol=1e-4)
        state = network.initial_state(1)
        feeds: dict[str, Any] = {f"membrane{i}": membrane.numpy() for i, membrane in enumerate(state)}
        fired = 0.0
        for _ in range(T):
            spikes, state = network.step(current, state)
            graph_spikes, *after = step.run(None, {"current": graph_current, **feeds})
            assert graph_spikes.dtype == np.uint8
            np.testing.assert_array_equal(graph_spikes, spikes.numpy())
            for membrane, graph_membrane in zip(state, after, strict=True):
                np.testing.assert_allclose(graph_membrane, membrane.numpy(), atol=1e-3)
            feeds = {f"membrane{i}": value for i, value in enumerate(after)}
            fired += float(spikes.mean())
    assert 0.0 < fired < T, "a silent network shows nothing"


@pytest.mark.parametrize("bottleneck", [None, BottleneckSpec(2, 1), BottleneckSpec(3, 2)], ids=str)
@pytest.mark.parametrize(("backbone", "split"), CUTS)
def test_the_same_spikes_and_membranes_for_every_cut(
    backbone: Backbone, split: str, bottleneck: BottleneckSpec | None
) -> None:
    spec = NetworkSpec(backbone, (2, 16, 16), 5, split, width=4, neuron=LEAKY, bottleneck=bottleneck)
    assert_the_same(lively_network(spec, seed=5).edge, random_inputs(spec, 1, seed=4))


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize(
    "neuron", [NeuronSpec(), NeuronSpec(threshold=2.0, initial_membrane=1.0), NeuronSpec(0.8, 1.3, -0.2)], ids=str
)
def test_every_neuron_and_stem(neuron: NeuronSpec, stem: Stem) -> None:
    spec = NetworkSpec("resnet18", (3, 32, 32), 5, "layer2", width=4, neuron=neuron, stem=stem)
    assert_the_same(lively_network(spec, seed=2).edge, random_inputs(spec, 1, seed=3))


def test_a_block_that_nobody_taught_is_refused() -> None:
    network = lively_network(NetworkSpec("vgg16", (1, 16, 16), 5, "block1", width=4)).edge
    network.head.blocks.append(torch.nn.Sigmoid())
    with pytest.raises(NotImplementedError, match=r"Sigmoid.*onnx_blocks\.py"):
        step_graph(network)
