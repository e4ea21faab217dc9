"""What is said of a network."""

from __future__ import annotations

import pytest
import torch

from shared.manifest import Normalisation
from shared.network_spec import NetworkSpec
from tests.support.bundles import lively_network
from training import evaluate
from training.data import Samples
from training.device import Machine
from training.evaluate import spike_statistics
from training.executed import Spiking

SPEC = NetworkSpec(backbone="resnet18", input_shape=(1, 8, 8), classes=2, split="layer1", width=4)
PIXELS = Normalisation(1 / 255, (0.5,), (0.5,))


def test_spikes_are_those_of_samples_from_all_over_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames[:4] = 0  # class by class, as a folder's are
    network, machine = lively_network(SPEC, 0), Machine(torch.device("cpu"), bfloat16=False)

    def statistics(*taken: int) -> dict[str, object]:
        chosen = frames[list(taken)] if taken else frames
        return spike_statistics(
            Spiking(network.edge, network.cloud), Samples(chosen, torch.zeros(len(chosen))), PIXELS, machine
        )

    monkeypatch.setattr(evaluate, "STATISTICS_SAMPLES", 4)
    assert statistics() == statistics(0, 2, 4, 7)
    assert statistics() != statistics(0, 1, 2, 3)
