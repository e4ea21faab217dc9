"""The tail of the spiking execution: what its readout keeps of the timesteps before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_server.tails.base import Tail, total_weights
from cloud_server.tails.cuda_graph import CudaGraphTail
from cloud_server.tails.invariant import InvariantTail
from cloud_server.tails.spiking import SpikingTail
from cloud_server.tails.spiking_onnx import OnnxSpikingTail
from shared.bundle import Bundle
from shared.models.load import load_cloud
from tests.support.bundles import make_bundle, retuned
from tests.support.graphs import with_tail_step
from tests.support.known import SAMPLES, TOLERANCE, known_frames
from training.executed import running_answers

CPU = torch.device("cpu")
TEMPERATURE = 1.7


@pytest.mark.parametrize(
    ("leak", "weights"),
    [(1.0, [1.0, 2.0, 3.0, 4.0]), (0.5, [1.0, 1.5, 1.75, 1.875]), (0.0, [1.0, 1.0, 1.0, 1.0])],
)
def test_total_weights(leak: float, weights: list[float]) -> None:
    assert total_weights(leak, 4) == weights
    assert total_weights(leak, 1) == [1.0]


def answers_of(bundle: Bundle, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is read from the logits of each timestep, [T, N, classes]."""
    cloud = load_cloud(bundle)
    with torch.inference_mode():
        logits, _ = cloud(torch.from_numpy(frames).float(), cloud.initial_state(frames.shape[1]))
        answers = running_answers(logits, bundle.settings.readout_leak)
        confidences: NDArray[np.float32] = torch.softmax(answers / bundle.settings.temperature, dim=-1).numpy()
    return confidences


def made(form: type[SpikingTail | OnnxSpikingTail], bundle: Bundle) -> Tail:
    """A tail of that form."""
    if issubclass(form, OnnxSpikingTail):
        return form(bundle)
    return CudaGraphTail(bundle, CPU, "fp32", SAMPLES) if issubclass(form, CudaGraphTail) else form(bundle, CPU)


@pytest.mark.parametrize("leak", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("form", [SpikingTail, InvariantTail, CudaGraphTail, OnnxSpikingTail])
def test_the_readout_forgets_as_the_training_code_does(
    tmp_path: Path, form: type[SpikingTail | OnnxSpikingTail], leak: float
) -> None:
    bundle = with_tail_step(retuned(make_bundle(tmp_path), readout_leak=leak, temperature=TEMPERATURE))
    frames = known_frames(bundle)
    expected = answers_of(bundle, frames)
    tail = made(form, bundle)
    slots = tail.slots(SAMPLES)
    slots.reset(range(SAMPLES))
    at = [0] * SAMPLES
    for batch in ([0], [0, 1, 2], [5, 0, 3, 4], [1, 2, 0, 5], [*range(1, SAMPLES)], [3, 4, 1, 2, 5]):
        for sample in batch:
            at[sample] += 1
        timesteps = [at[sample] for sample in batch]
        due = [frames[timestep - 1, sample] for timestep, sample in zip(timesteps, batch, strict=True)]
        stepped = tail.step(due, timesteps, slots.gather(batch))
        slots.scatter(batch, stepped.state)
        right = np.stack([expected[timestep - 1, sample] for timestep, sample in zip(timesteps, batch, strict=True)])
        np.testing.assert_allclose(stepped.confidences, right, atol=TOLERANCE, rtol=0)
    assert max(at) == 4
    different = answers_of(retuned(bundle, readout_leak=0.5), frames)
    assert np.abs(different[1:] - expected[1:]).max() > 100 * TOLERANCE, "a tail that ignores its leak would pass"


def test_torch_gets_its_threads(bundle: Bundle) -> None:
    before = torch.get_num_threads()
    try:
        SpikingTail(bundle, CPU).use_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
