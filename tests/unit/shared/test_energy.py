from dataclasses import replace
from math import prod
from pathlib import Path

import pytest

from shared.bundle import Bundle
from shared.energy import INTEGER_MAC_J, RADIOS, Cost, compute_joules, edge_cost, radio_joules
from shared.network_spec import InputKind
from shared.operations import dense
from tests.support.bundles import make_bundle

MODELS = Path(__file__).resolve().parents[3] / "models"


def test_a_spike_asks_for_a_fifth_of_a_multiplication() -> None:
    assert compute_joules(1e6, 0) == pytest.approx(4.6e-6)
    assert compute_joules(0, 1e6) == pytest.approx(0.9e-6)


def test_the_first_layer_of_a_picture_is_paid_once() -> None:
    cost = Cost(macs=100.0, macs_per_step=0.0, accumulates_per_step=10.0)
    assert cost.joules(4) == pytest.approx(compute_joules(100.0, 40.0))
    assert cost.joules(0) == 0.0


def test_the_first_layer_of_events_is_paid_at_each_timestep() -> None:
    cost = Cost(macs=0.0, macs_per_step=100.0, accumulates_per_step=10.0)
    assert cost.joules(3) == pytest.approx(compute_joules(300.0, 30.0))


def test_layers_without_spikes_multiply_integers_once_for_a_picture_and_for_each_frame_of_events() -> None:
    picture = Cost(macs=100.0, macs_per_step=0.0, accumulates_per_step=10.0, integer_macs=1000.0)
    assert picture.joules(4) == pytest.approx(compute_joules(100.0, 40.0) + 1000 * INTEGER_MAC_J)
    events = Cost(macs=0.0, macs_per_step=100.0, accumulates_per_step=10.0, integer_macs_per_step=1000.0)
    assert events.joules(3) == pytest.approx(compute_joules(300.0, 30.0) + 3000 * INTEGER_MAC_J)
    assert picture.joules(0) == events.joules(0) == 0.0


@pytest.mark.parametrize("name", ["resnet18-cifar10", "resnet18-digits", "vgg16-nmnist"])
def test_the_cost_of_a_shipped_bundle_is_what_its_evaluation_counted(name: str) -> None:
    bundle = Bundle.open(MODELS / name, "spiking")
    cost, test = edge_cost(bundle), bundle.settings.measured["test"]
    timesteps = bundle.manifest.network.timesteps
    assert cost is not None
    assert cost.macs + timesteps * cost.macs_per_step == pytest.approx(test["multiply_accumulates"])
    assert timesteps * cost.accumulates_per_step == pytest.approx(test["accumulates_edge"])
    assert cost.joules(timesteps) == pytest.approx(
        compute_joules(test["multiply_accumulates"], test["accumulates_edge"])
    )


def measured(bundle: Bundle, test: dict[str, float]) -> Bundle:
    """The bundle with its execution measured."""
    settings = replace(bundle.settings, measured={"test": test})
    return replace(bundle, manifest=bundle.manifest.with_execution(bundle.execution, settings))


@pytest.mark.parametrize("kind", ["static", "events"])
def test_in_rate_the_encoders_neurons_alone_add_at_each_timestep(tmp_path: Path, kind: InputKind) -> None:
    bundle = make_bundle(tmp_path, input_kind=kind).run_as("rate")
    first, neurons = dense(bundle.manifest.network, "edge", real_valued=True), prod(bundle.manifest.frame_shape)
    static = kind == "static"
    expected = Cost(
        macs=first if static else 0.0,
        macs_per_step=0.0 if static else first,
        accumulates_per_step=neurons,
        integer_macs=1200.0 if static else 0.0,
        integer_macs_per_step=0.0 if static else 300.0,
    )
    assert edge_cost(measured(bundle, {"accumulates_edge": 1200.0})) == expected


def test_a_bundle_that_was_never_evaluated_has_no_model(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    for execution in bundle.manifest.executions:
        assert edge_cost(bundle.run_as(execution)) is None
        assert edge_cost(measured(bundle.run_as(execution), {})) is None


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
