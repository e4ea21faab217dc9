from dataclasses import replace
from pathlib import Path

import pytest

from edge_client.inference.verdict import Step, Verdict
from edge_client.output.energy import EnergyAccount
from edge_client.session import readings
from shared.boards import boards
from shared.bundle import Bundle
from shared.energy import AC_J, MAC_J, RADIOS, Meter, compute_joules
from shared.exit_policy import ExitPolicy

MODELS = Path(__file__).resolve().parents[4] / "models"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(MODELS / "resnet18-digits", "spiking")


def verdict(steps: int = 1, **changes: object) -> Verdict:
    step = Step(1, 0, 0.9, True, 0.001, 0.0, 0.02, 0.0, 0.001, 1)
    made = Verdict(1, 0, 0.9, max(steps, 1), 30, 0.05, "cloud", (step,) * steps, 40, 60, steps, steps, 2, 0.02)
    return replace(made, **changes)


class Counting:
    kind: Meter = "rapl"

    def __init__(self) -> None:
        self.count: float | None = 5.0

    def joules(self) -> float | None:
        return self.count


def test_operations_of_every_timestep_made_are_charged(bundle: Bundle) -> None:
    account = EnergyAccount(bundle, bundle.settings.exit_policy, "none", asks_first=False, meter=None)
    one, two = (account.charge(verdict(head_steps=steps)).modelled for steps in (1, 2))
    assert one is not None
    assert two is not None
    test = bundle.settings.measured["test"]
    assert two.compute_j - one.compute_j == pytest.approx(test["accumulates_edge"] / 4 * AC_J)
    assert one.compute_j == pytest.approx(compute_joules(test["multiply_accumulates"], test["accumulates_edge"] / 4))
    assert one.radio_j == 0.0


def test_the_radio_is_awake_from_the_first_byte_to_the_verdict(bundle: Bundle) -> None:
    account = EnergyAccount(bundle, bundle.settings.exit_policy, "wifi", asks_first=False, meter=None)
    short, long = (account.charge(verdict(on_air_s=seconds)).modelled for seconds in (0.02, 1.02))
    silent = account.charge(verdict(0, wire_bytes=0, on_air_s=0.0)).modelled
    assert short is not None
    assert long is not None
    assert silent is not None
    assert long.radio_j - short.radio_j == pytest.approx(RADIOS["wifi"].listening_w)
    assert short.radio_j > 0.02 * RADIOS["wifi"].listening_w
    assert silent.radio_j == 0.0


def test_an_answer_costs_what_the_policy_in_force_has_it_carry(bundle: Bundle) -> None:
    one, two, ten = (
        EnergyAccount(bundle, ExitPolicy(measure), "wifi", asks_first=False, meter=None).charge(verdict()).modelled
        for measure in ("max_probability", "margin", "entropy")
    )
    assert one is not None
    assert two is not None
    assert ten is not None
    assert one.radio_j < two.radio_j < ten.radio_j


def test_asking_the_local_exit_is_charged(bundle: Bundle) -> None:
    asked, not_asked = (
        EnergyAccount(bundle, bundle.settings.exit_policy, "none", asks_first=first, meter=None)
        .charge(verdict())
        .modelled
        for first in (True, False)
    )
    assert asked is not None
    assert not_asked is not None
    operations = bundle.settings.measured["local_exit"]["operations"]
    assert asked.compute_j - not_asked.compute_j == pytest.approx(operations * MAC_J)


def test_a_meters_joules_go_to_the_verdict_that_comes_next(bundle: Bundle) -> None:
    meter = Counting()
    account = EnergyAccount(bundle, bundle.settings.exit_policy, "none", asks_first=False, meter=meter)
    meter.count = 100.0  # connecting, loading
    account.begin()
    meter.count = 102.0
    first = account.charge(verdict()).measured
    second = account.charge(verdict()).measured
    assert first is not None
    assert second is not None
    assert (first.joules, first.meter) == (2.0, "rapl")
    assert second.joules == 0.0
    meter.count = None
    assert account.charge(verdict()).measured is None
    assert account.charge(verdict()).measured is None


def test_nothing_is_made_up(bundle: Bundle) -> None:
    settings = replace(bundle.settings, measured={})
    bare = replace(bundle, manifest=bundle.manifest.with_execution(bundle.execution, settings))
    energy = EnergyAccount(bare, settings.exit_policy, "wifi", asks_first=True, meter=None).charge(verdict())
    assert energy.modelled is None
    assert energy.measured is None


def test_what_this_process_computed_and_sent_is_reckoned_at_the_boards_stated_power(bundle: Bundle) -> None:
    clock, busy = iter([0.0, 10.0, 10.5]), iter([0.0, 7.0, 7.2])
    account = EnergyAccount(
        bundle,
        bundle.settings.exit_policy,
        "none",
        asks_first=False,
        meter=None,
        board=boards()["pi-4b"],
        clock=lambda: next(clock),
        busy=lambda: next(busy),
    )
    account.begin()
    energy = account.charge(verdict(wire_bytes=100, frames_sent=3, answers=2))
    assert (energy.time.seconds, energy.time.busy_core_s) == (0.5, pytest.approx(0.2))
    assert (energy.traffic.sent_packets, energy.traffic.received_packets) == (3, 2)
    assert energy.board is not None
    assert energy.board.compute_j == pytest.approx(0.2 * 0.925)
    assert energy.board.idle_j == pytest.approx(0.5 * 2.7)
    assert energy.board == boards()["pi-4b"].spend(energy.time, energy.traffic)


def test_without_a_board_the_time_is_counted_and_no_joules_are(bundle: Bundle) -> None:
    account = EnergyAccount(bundle, bundle.settings.exit_policy, "none", asks_first=False, meter=None)
    account.begin()
    energy = account.charge(verdict())
    assert energy.board is None
    assert energy.time.seconds > 0.0


def test_what_was_spent_is_exported_each_kind_under_its_own_name(bundle: Bundle) -> None:
    busy = iter([0.0, 1.0, 1.25])
    account = EnergyAccount(
        bundle,
        bundle.settings.exit_policy,
        "wifi",
        asks_first=False,
        meter=Counting(),
        board=boards()["pi-zero-2w"],
        busy=lambda: next(busy),
    )
    account.begin()
    charged = verdict(frames_sent=2, answers=1)
    energy = account.charge(charged)
    found = {(name, *labels.values()): value for name, value, labels in readings(replace(charged, energy=energy), "7")}
    assert found["neucodex_edge_busy_core_seconds_total",] == pytest.approx(0.25)
    assert found["neucodex_edge_packets_total", "sent"] == 2
    assert found["neucodex_edge_packets_total", "received"] == 1
    assert energy.board is not None
    assert found["neucodex_edge_board_joules_total", "compute"] == pytest.approx(0.25 * 0.425)
    assert found["neucodex_edge_board_joules_total", "radio"] == energy.board.radio_j > 0.0
    assert found["neucodex_edge_board_joules_total", "idle"] == energy.board.idle_j
    names = {name for name, *_ in found}
    assert {"neucodex_edge_modelled_joules_total", "neucodex_edge_measured_joules_total"} <= names
