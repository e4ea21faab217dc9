"""The graphs of the rate execution against the quantised network; the integer ones promise the same bits always."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import SpecError
from shared.models.layers import Gain
from shared.models.split import CloudNetwork, EdgeNetwork, SplitNetwork
from shared.network_spec import SPLITS, Backbone, BottleneckSpec, NetworkSpec, NeuronSpec, Shortcut
from tests.support.bundles import lively_network, random_inputs
from training.activations import ClipFloorShift, use
from training.onnx_rate import rate_head_graph, rate_tail_graph
from training.onnx_rate_int8 import rate_head_int8, rate_tail_int8

Array = NDArray[Any]

CUTS = [(backbone, split) for backbone, splits in SPLITS.items() for split in splits]
NEURON = NeuronSpec(threshold=2.0, initial_membrane=1.0)
LEVELS = 8


def session(
    model: onnx.ModelProto, threads: int = 1, *, optimised: bool = True
) -> Callable[[dict[str, Array]], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    run = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run
    return lambda feeds: run(None, feeds)[0]


def make_spec(
    backbone: Backbone = "resnet18",
    split: str = "layer1",
    stride: int = 2,
    side: int = 16,
    shortcut: Shortcut = "currents",
    **more: Any,
) -> NetworkSpec:
    bottleneck = BottleneckSpec(3, stride)
    more = {"width": 4, "neuron": NEURON, "bottleneck": bottleneck, "shortcut": shortcut, **more}
    return NetworkSpec(backbone, (2, side, side), 5, split, **more)


def sums(cloud: CloudNetwork, timesteps: Sequence[int], seed: int = 0) -> dict[str, Array]:
    """Sums of that many random frames of each sample."""
    counts = np.array(timesteps)
    total = np.random.default_rng(seed).binomial(counts[:, None, None, None], 0.4, (len(counts), *cloud.in_shape))
    return {"sum": total.astype(np.uint8), "timesteps": counts.astype(np.float32)}


@torch.inference_mode()
def head_reference(edge: EdgeNetwork, frame: torch.Tensor, levels: int = LEVELS) -> Array:
    use(edge, ClipFloorShift(levels))
    features, _ = edge.head(edge.embed(frame.unsqueeze(0)), edge.head.initial_state(len(frame)))
    current: Array = edge.encoder.current(features[0]).numpy()  # type: ignore[operator]
    return current


@torch.inference_mode()
def tail_reference(cloud: CloudNetwork, feeds: dict[str, Array], levels: int = LEVELS) -> Array:
    use(cloud, ClipFloorShift(levels))
    mean = torch.from_numpy(feeds["sum"] / feeds["timesteps"].reshape(-1, 1, 1, 1))
    logits, _ = cloud(mean.unsqueeze(0), cloud.initial_state(len(mean)))
    result: Array = logits[0].numpy()
    return result


def assert_same(actual: Array, expected: Array) -> None:
    """Nearly all values: where a current lies within a rounding error of two levels' border, one may go either way."""
    assert expected.std() > 0.01, "a silent network shows nothing"
    assert np.isclose(actual, expected, atol=1e-4).mean() > 0.9


def check_float(network: SplitNetwork) -> None:
    frame = random_inputs(network.spec, 1, seed=4)
    feeds = sums(network.cloud, [1, 2, 3, 4, 7, 255])
    assert_same(
        session(rate_head_graph(network.edge, LEVELS))({"frame": frame.numpy()}), head_reference(network.edge, frame)
    )
    assert_same(session(rate_tail_graph(network.cloud, LEVELS))(feeds), tail_reference(network.cloud, feeds))


def check_integers(network: SplitNetwork, levels: int = LEVELS, timesteps: Sequence[int] = (1, 2, 4, 8)) -> None:
    """With weights that make every current a whole number of levels nothing is rounded, so nothing may differ."""
    make_whole(network, levels)
    frame = random_inputs(network.spec, 1, seed=4)
    feeds = sums(network.cloud, [*timesteps] * 4)
    current, logits = head_reference(network.edge, frame, levels), tail_reference(network.cloud, feeds, levels)
    assert current.std() > 0.01, "a silent network shows nothing"
    assert logits.std() > 0.01, "a silent network shows nothing"
    actual = session(rate_head_int8(network.edge, levels))({"frame": frame.numpy()})
    np.testing.assert_allclose(actual, current, atol=1e-3)
    np.testing.assert_allclose(session(rate_tail_int8(network.cloud, levels))(feeds), logits, atol=1e-3)


def make_whole(network: SplitNetwork, levels: int) -> None:
    """Give a network a few weights of one threshold, up or down, for each output, and biases of a few levels."""
    random = torch.Generator().manual_seed(0)
    threshold = network.spec.neuron.threshold
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module is not network.edge.embedding[0]:
            channels = module.weight if isinstance(module, nn.Conv2d) else module.weight.transpose(0, 1)
            chosen = torch.rand(channels.shape, generator=random).flatten(1).argsort(1) < 2
            signs = torch.randint(0, 3, chosen.shape, generator=random).clamp(max=1) * 2 - 1
            channels.copy_((chosen * signs * threshold).view(channels.shape))
        elif isinstance(module, nn.BatchNorm2d) and module is not network.edge.embedding[1]:
            module.reset_running_stats()
            module.weight.fill_((1.0 + module.eps) ** 0.5)
            module.bias.copy_(torch.randint(-1, 3, module.bias.shape, generator=random) * (threshold / levels))
        elif isinstance(module, Gain):
            module.gain.fill_(threshold)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("backbone", "split"), CUTS)
def test_every_cut(backbone: Backbone, split: str, stride: int) -> None:
    network = lively_network(make_spec(backbone, split, stride), seed=3)
    check_float(network)
    check_integers(network)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("side", [16, 27])
def test_every_stride_of_even_and_odd_maps(stride: int, side: int) -> None:
    network = lively_network(make_spec(stride=stride, side=side), seed=1)
    check_float(network)
    check_integers(network)


@pytest.mark.parametrize("blocks", [(1, 3, 2, 2), (2, 2, 3, 1)])
@pytest.mark.parametrize("shortcut", ["currents", "spikes"])
def test_every_kind_of_residual_block(shortcut: Shortcut, blocks: tuple[int, ...]) -> None:
    network = lively_network(make_spec(split="layer2", shortcut=shortcut, blocks=blocks, stem="imagenet", side=64))
    check_float(network)
    check_integers(network)


@pytest.mark.parametrize(("backbone", "levels"), [("resnet18", 1), ("resnet18", 3), ("resnet18", 16), ("vgg16", 200)])
def test_any_number_of_levels(backbone: Backbone, levels: int) -> None:
    network = lively_network(make_spec(backbone, SPLITS[backbone][1]))
    check_integers(network, levels, timesteps=[1])


def test_rounded_weights_and_currents_cost_little() -> None:
    cloud = lively_network(make_spec(split="layer3", width=16)).cloud
    feeds = sums(cloud, [1, 2, 3, 4, 7, 255])
    logits, rounded = tail_reference(cloud, feeds), session(rate_tail_int8(cloud, LEVELS))(feeds)
    assert np.corrcoef(logits.ravel(), rounded.ravel())[0, 1] > 0.9


def test_a_tail_without_a_bottleneck() -> None:
    cloud = lively_network(make_spec(bottleneck=None)).cloud
    feeds = sums(cloud, [1, 2, 3])
    assert_same(session(rate_tail_graph(cloud, LEVELS))(feeds), tail_reference(cloud, feeds))


@pytest.mark.parametrize("shortcut", ["currents", "spikes"])
def test_integers_have_the_same_bits_in_every_batch_place_and_thread(shortcut: Shortcut) -> None:
    cloud = lively_network(make_spec(shortcut=shortcut, width=16), seed=2).cloud
    model, feeds = rate_tail_int8(cloud, LEVELS), sums(cloud, [1 + index % 7 for index in range(64)])
    alone = session(model)
    expected = np.concatenate([alone(part(feeds, [index])) for index in range(64)])
    assert len(np.unique(expected.argmax(1))) > 1
    order = np.random.default_rng(0).permutation(64)
    for run in (alone, session(model, threads=2), session(model, optimised=False)):
        for batch in (7, 32):
            batches = [range(start, min(start + batch, 64)) for start in range(0, 64, batch)]
            np.testing.assert_array_equal(np.concatenate([run(part(feeds, rows)) for rows in batches]), expected)
        np.testing.assert_array_equal(run(part(feeds, order)), expected[order])


def part(feeds: dict[str, Array], rows: Sequence[int] | Array) -> dict[str, Array]:
    return {name: value[np.array(rows)] for name, value in feeds.items()}


def test_a_head_without_a_bottleneck_is_refused() -> None:
    edge = lively_network(make_spec(bottleneck=None)).edge
    for graph in (rate_head_graph, rate_head_int8):
        with pytest.raises(SpecError, match="bottleneck"):
            graph(edge, LEVELS)
