from dataclasses import replace
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.energy import RADIOS, Cost, Modelled, compute_joules, edge_cost, radio_joules
from tests.support.bundles import make_bundle

MODELS = Path(__file__).resolve().parents[3] / "models"


def test_a_spike_asks_for_a_fifth_of_a_multiplication() -> None:
    assert compute_joules(1e6, 0) == pytest.approx(4.6e-6)
    assert compute_joules(0, 1e6) == pytest.approx(0.9e-6)


def test_the_first_layer_of_a_picture_is_paid_once() -> None:
    cost = Cost(macs=100.0, macs_per_step=0.0, accumulates_per_step=10.0)
    assert cost.operations(4) == (100.0, 40.0)
    assert cost.operations(0) == (0.0, 0.0)


def test_the_first_layer_of_events_is_paid_at_each_timestep() -> None:
    assert Cost(macs=0.0, macs_per_step=100.0, accumulates_per_step=10.0).operations(3) == (300.0, 30.0)


@pytest.mark.parametrize("name", ["resnet18-cifar10", "resnet18-digits", "vgg16-nmnist"])
def test_the_cost_of_a_shipped_bundle_is_what_its_evaluation_counted(name: str) -> None:
    manifest = Bundle.open(MODELS / name).manifest
    cost, test = edge_cost(manifest), manifest.provenance["test"]
    assert cost is not None
    macs, accumulates = cost.operations(manifest.network.timesteps)
    assert macs == pytest.approx(test["multiply_accumulates"])
    assert accumulates == pytest.approx(test["accumulates_edge"])


def test_a_bundle_that_was_never_evaluated_has_no_model(tmp_path: Path) -> None:
    manifest = make_bundle(tmp_path / "bundle").manifest
    assert edge_cost(manifest) is None
    assert edge_cost(replace(manifest, provenance={"test": {}})) is None


def test_a_radio_pays_for_bytes_and_for_waiting() -> None:
    wifi = RADIOS["wifi"]
    one_megabit_each_second = radio_joules(wifi, 1e6 / 8, 0, 1.0)
    assert one_megabit_each_second == pytest.approx(0.28317 + 0.13286)  # the published watts at 1 Mbit/s
    assert radio_joules(RADIOS["lora"], 50e3 / 8, 0, 1.0) == pytest.approx(3.3 * 0.029)  # all of it sending
    assert radio_joules(RADIOS["none"], 1e9, 1e9, 1e3) == 0.0


def test_a_short_message_costs_less_than_the_wait_for_its_answer() -> None:
    wifi = RADIOS["wifi"]
    assert radio_joules(wifi, 200, 0, 0) < radio_joules(wifi, 0, 0, 0.02)


@pytest.mark.parametrize("radio", RADIOS.values(), ids=RADIOS)
def test_every_radio_names_its_source(radio: object) -> None:
    assert getattr(radio, "source", "")


def test_the_total_is_both_parts() -> None:
    assert Modelled(1.0, 2.0).total_j == 3.0
