"""Both executions as training runs them: at once over all timesteps, and read as the cloud reads them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, InputKind, NetworkSpec
from tests.support.bundles import lively_network, random_inputs, reference_confidences, wire_frames
from training.executed import Passes, Rate, Spiking, in_one_pass, read_answers, running_answers

BATCH = 5
KINDS: tuple[InputKind, ...] = ("static", "events")


def network_of(kind: InputKind) -> SplitNetwork:
    bottleneck = BottleneckSpec(2, 2)
    spec = NetworkSpec("resnet18", (2, 16, 16), 10, "layer2", width=4, input_kind=kind, bottleneck=bottleneck)
    return lively_network(spec, seed=2)


def logits_of_steps(*steps: float) -> Tensor:
    """[T, 1, 1]"""
    return torch.tensor(steps).view(-1, 1, 1)


@pytest.mark.parametrize(
    ("leak", "expected"), [(1.0, [4.0, 5.0, 3.0]), (0.5, [4.0, 16 / 3, 12 / 7]), (0.0, [4.0, 6.0, -1.0])]
)
def test_a_running_answer_weighs_what_came_before(leak: float, expected: list[float]) -> None:
    answers = running_answers(logits_of_steps(4.0, 6.0, -1.0), leak).flatten().tolist()
    assert answers == pytest.approx(expected)


def test_rate_reads_each_timestep_by_itself() -> None:
    steps = logits_of_steps(4.0, 6.0, -1.0)
    assert torch.equal(read_answers("rate", steps, 0.5), steps)
    assert torch.equal(read_answers("spiking", steps, 0.5), running_answers(steps, 0.5))


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_spiking_is_the_network_stepped(kind: InputKind) -> None:
    network = network_of(kind)
    inputs = random_inputs(network.spec, BATCH, seed=3)
    executed = Spiking(network.edge, network.cloud)
    frames = executed.frames(inputs)
    np.testing.assert_array_equal(frames.numpy(), wire_frames(network, inputs))
    answers = read_answers("spiking", executed.logits(frames), 1.0)
    torch.testing.assert_close(torch.softmax(answers, -1), reference_confidences(network, inputs), atol=1e-5, rtol=0)
    timesteps = network.spec.timesteps
    assert executed.passes == Passes(1 if kind == "static" else timesteps, timesteps, timesteps)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_rate_is_the_head_once_and_the_cloud_on_the_mean_so_far(kind: InputKind) -> None:
    """Each timestep of each sample by itself, from the same layers in one pass."""
    network = network_of(kind)
    timesteps, inputs = network.spec.timesteps, random_inputs(network.spec, BATCH, seed=3)
    executed = Rate(network.edge, network.cloud, head_levels=5, tail_levels=3)
    frames = executed.frames(inputs)
    assert frames.shape == (timesteps, BATCH, *network.edge.out_shape)
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    head, tail = in_one_pass(network, 5).edge, in_one_pass(network, 3).cloud
    logits = executed.logits(frames)
    assert logits.shape == (timesteps, BATCH, network.spec.classes)
    for sample in range(BATCH):
        membrane = torch.full(network.edge.out_shape, 0.5)
        for timestep in range(timesteps):
            frame = inputs[sample] if kind == "static" else inputs[timestep, sample]
            features, _ = head.head(head.embed(frame[None, None]), head.head.initial_state(1))
            reset = (membrane > 1.0).float()
            membrane = membrane + head.encoder.current(features[0])[0] - reset  # type: ignore[operator]
            clear = (membrane - 1.0).abs() > 1e-4
            assert torch.equal(frames[timestep, sample][clear], (membrane > 1.0).float()[clear])
            assert clear.float().mean() > 0.99
            mean = frames[: timestep + 1, sample].mean(0)
            expected, _ = tail(mean[None, None], tail.initial_state(1))
            torch.testing.assert_close(logits[timestep, sample], expected[0, 0], atol=1e-4, rtol=0)
    passes = 1 if kind == "static" else timesteps
    assert executed.passes == Passes(passes, passes, timesteps)


@torch.inference_mode()
def test_in_one_pass_a_clip_of_events_is_read_by_its_mean_and_the_network_is_left_alone() -> None:
    network = network_of("events")
    inputs = random_inputs(network.spec, BATCH, seed=3)
    before = network(inputs)
    once = in_one_pass(network, 8)
    assert once.spec == replace(network.spec, timesteps=1, input_kind="static")
    assert once(inputs.mean(0)).shape == (1, BATCH, 10)
    assert torch.equal(network(inputs), before)
