"""A head that is no part of the backbone, and the decoder that stands for the layers it leaves out."""

from __future__ import annotations

import pytest
import torch

from shared.errors import SpecError
from shared.models.rate import RateCloud, RateEdge
from shared.models.split import SplitNetwork, split_shape
from shared.network_spec import BottleneckSpec, LightHeadSpec, NetworkSpec, Shape
from shared.operations import dense, frame_shape
from tests.support.bundles import lively_network, random_inputs

LIGHT = LightHeadSpec((8, 12), (2, 2), (12, 8, 8))


def spec_of(light: LightHeadSpec = LIGHT, input_shape: Shape = (3, 16, 16), split: str = "layer1") -> NetworkSpec:
    return NetworkSpec("resnet18", input_shape, 5, split, width=8, bottleneck=BottleneckSpec(4, 1), light=light)


def test_frames_and_features_have_the_sizes_that_are_asked_for() -> None:
    network = SplitNetwork(spec_of())
    assert network.edge.out_shape == network.cloud.decoder.in_shape == (4, 4, 4)
    assert network.cloud.decoder.out_shape == split_shape(network.spec) == (8, 16, 16)


def test_stepping_is_running_all_timesteps_at_once() -> None:
    network = lively_network(spec_of())
    inputs = random_inputs(network.spec, 3)
    whole = network(inputs)
    current = network.edge.embed(inputs.unsqueeze(0))[0]
    edge_state, cloud_state = network.edge.initial_state(3), network.cloud.initial_state(3)
    for logits in whole:
        spikes, edge_state = network.edge.step(current, edge_state)
        step, cloud_state = network.cloud.step(spikes, cloud_state)
        assert torch.allclose(step, logits, atol=1e-5)


def test_it_has_both_executions() -> None:
    network = lively_network(spec_of())
    inputs = random_inputs(network.spec, 3)
    currents = RateEdge(network.edge, 8)(inputs)
    assert currents.shape == (3, 4, 4, 4)
    logits = RateCloud(network.cloud, 8)(torch.ones(3, 4, 4, 4), torch.full((3,), 2))
    assert logits.shape == (3, 5)


DEEP = LightHeadSpec((12, 6), (2, 2), (12, 8, 8), "split")


def test_a_deep_encoder_stands_behind_the_backbones_layers() -> None:
    network = lively_network(spec_of(DEEP))
    plain = SplitNetwork(network.spec.uncompressed)
    theirs = dict(plain.edge.named_parameters())
    own = dict(network.edge.named_parameters())
    assert theirs.keys() < own.keys()
    assert all(own[name].shape == theirs[name].shape for name in theirs)
    assert network.edge.out_shape == frame_shape(network.spec) == (4, 4, 4)
    inputs = random_inputs(network.spec, 3)
    logits = RateCloud(network.cloud, 8)(RateEdge(network.edge, 8)(inputs).round().clamp(0, 1), torch.full((3,), 1))
    assert logits.shape == (3, 5)


def test_a_deep_encoders_operations_are_the_backbones_and_its_own() -> None:
    spec = spec_of(DEEP)
    own = 12 * 8 * 9 * 64 + 6 * 12 * 9 * 16 + 4 * 6 * 16
    assert dense(spec, "edge") == dense(spec.uncompressed, "edge") + own


def test_a_decoder_that_does_not_lead_to_the_split_is_refused() -> None:
    with pytest.raises(SpecError, match=r"doubles frames of 4 x 4 1 times: that does not lead to the split's 16 x 16"):
        SplitNetwork(spec_of(LightHeadSpec((8, 12), (2, 2), (12, 8))))


@pytest.mark.parametrize(
    ("light", "bottleneck", "says"),
    [
        (LIGHT, None, "needs network.bottleneck"),
        (LIGHT, BottleneckSpec(4, 2), "with stride 1"),
    ],
)
def test_it_stands_before_a_bottleneck(light: LightHeadSpec, bottleneck: BottleneckSpec | None, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        NetworkSpec("resnet18", (3, 16, 16), 5, "layer1", bottleneck=bottleneck, light=light)


@pytest.mark.parametrize("values", [((8,), (2, 2), (4,)), ((), (), (4,)), ((8,), (3,), (4,)), ((8,), (2,), ())])
def test_numbers_that_make_no_head_are_refused(
    values: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(SpecError, match="light"):
        LightHeadSpec(*values)
