"""The energy of a sample is that of docs/energy.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.attribution import attribute
from benchmarks.testbed.schema import LayerOperations, MeasuredLink, MeasuredNetwork
from shared.boards import boards
from shared.energy import RADIOS, compute_joules, radio_joules

LAYERS = (
    LayerOperations("edge.embedding", "edge", 1e6, 1.0, True),
    LayerOperations("edge.head", "edge", 2e7, 0.1, False),
    LayerOperations("cloud.tail", "cloud", 3e8, 0.1, False),
)
NETWORK = MeasuredNetwork("made", "ab", "layer1", 4, (4, 8, 8), (1, 8, 8), 10, LAYERS, (), local_exit_macs=5e4)
WIFI = MeasuredLink(
    LinkProfile("wifi", 10.0, 20.0, 20.0, 0.0, 0.0, "made"), "tun", True, 10.0, up_mbit=20.0, down_mbit=20.0
)
PI = boards()["pi-4b"]
PAIR = Alternative("full-local-first", "made", "pair", "bottleneck", True, lookahead="auto", local_first=True)
ANSWERED: dict[str, Any] = {
    "predicted": 1, "answered_by": 1, "timesteps": 2, "head_steps": 3, "payload_bytes": 100, "message_bytes": 120,
    "link_up_bytes": 400, "link_down_bytes": 200, "link_up_packets": 3, "link_down_packets": 2, "busy_core_s": 0.02,
    "local_exits": 1, "latency_ms": 50.0, "head_ms": 21.0,
    "encode_ms": 1.0, "queue_ms": 2.0, "tail_ms": 3.0, "transit_ms": 20.0, "on_air_ms": 41.0, "confidence": [0.5, 0.9],
}  # fmt: skip


def test_the_radio_listens_from_the_first_byte_to_the_verdict() -> None:
    made = attribute([ANSWERED], PAIR, WIFI, NETWORK, PI)
    assert made.radio_j[0] == pytest.approx(radio_joules(RADIOS["wifi"], 400, 200, 0.041))


def test_the_local_exit_is_charged_where_it_was_asked() -> None:
    made = attribute([ANSWERED, {**ANSWERED, "local_exits": 0}], PAIR, WIFI, NETWORK, PI)
    assert made.macs.tolist() == pytest.approx([1e6 + 5e4, 1e6])
    assert made.compute_j[0] == pytest.approx(compute_joules(1e6 + 5e4, 3 * 2e6))


def test_what_sends_nothing_has_no_radio() -> None:
    here = {**ANSWERED, "answered_by": 0, "message_bytes": 0, "link_up_bytes": 1, "link_down_bytes": 0}
    here.pop("on_air_ms")
    assert attribute([here], PAIR, WIFI, NETWORK, PI).radio_j[0] == 0.0


def test_the_parts_add_up_to_the_latency() -> None:
    made = attribute([ANSWERED], PAIR, WIFI, NETWORK, PI)
    parts = (made.head_ms, made.encode_ms, made.uplink_ms, made.queue_ms, made.tail_ms, made.downlink_ms, made.other_ms)
    assert sum(float(part[0]) for part in parts) == pytest.approx(50.0)


def test_a_boards_joules_are_its_stated_power_times_what_was_measured() -> None:
    made = attribute([ANSWERED], PAIR, WIFI, NETWORK, PI)
    assert made.board_compute_j[0] == pytest.approx(0.02 * 0.925)
    assert made.board_radio_j[0] == pytest.approx(400 * 1.9e-6 + 3 * 420e-6 + 200 * 0.42e-6 + 2 * 330e-6)
    assert made.board_idle_j[0] == pytest.approx(0.05 * 2.7)


def test_a_boards_radio_is_known_over_its_wifi_alone() -> None:
    lte = replace(WIFI, asked=replace(WIFI.asked, name="lte"))
    lan = replace(WIFI, asked=replace(WIFI.asked, name="lan"))
    here = {**ANSWERED, "message_bytes": 0}
    assert np.isnan(attribute([ANSWERED], PAIR, lte, NETWORK, PI).board_radio_j[0])
    assert attribute([ANSWERED], PAIR, lan, NETWORK, PI).board_radio_j[0] == 0.0
    assert attribute([here], PAIR, lte, NETWORK, PI).board_radio_j[0] == 0.0


def test_every_operation_of_the_plain_network_multiplies() -> None:
    plain = Alternative("plain-int8", "made", "plain", "uncompressed", early_exit=False, int8=True)
    here = {name: value for name, value in ANSWERED.items() if name not in ("head_steps", "local_exits")}
    made = attribute([{**here, "message_bytes": 0}], plain, WIFI, NETWORK, PI)
    assert made.macs[0] == pytest.approx(1e6 + 2e7 + 3e8)
