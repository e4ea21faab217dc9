from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.links import namespaces, tun
from benchmarks.links.probe import measure
from benchmarks.links.profiles import PROFILES, LinkProfile
from benchmarks.links.proxy import LinkProcess
from benchmarks.links.shaping import LEAST_QUEUE, Direction
from benchmarks.processes import ServerProcess
from benchmarks.testbed.environments import Loopback
from shared.errors import ConfigError

needs_root = pytest.mark.skipif(
    namespaces.missing() is not None or tun.missing() is not None, reason="namespaces or /dev/net/tun are not to be had"
)
SLOW = LinkProfile("slow", 30.0, 2.0, 4.0, 0.0, 0.0, "made")


def test_every_profile_says_where_it_is_from() -> None:
    names = ["loopback", "lan", "wifi", "lte", "3g", "lora", "lte-m", "nb-iot", "lorawan", "satellite"]
    assert [profile.name for profile in PROFILES] == names
    assert all(profile.source and profile.rtt_ms >= 0.0 and profile.jitter_ms <= profile.rtt_ms for profile in PROFILES)


def test_packets_go_one_after_the_other_and_a_full_queue_drops() -> None:
    direction = Direction(delay_s=0.010, bytes_s=100_000.0)
    assert direction.arrives(1000, 0.0) == pytest.approx(0.020)
    assert direction.arrives(1000, 0.0) == pytest.approx(0.030)
    taken = [direction.arrives(1000, 0.0) for _ in range(60)]
    assert taken.count(None) == direction.lost > 0
    assert 2 + sum(each is not None for each in taken) == pytest.approx(LEAST_QUEUE / 1000, abs=1.0)
    assert direction.arrives(1000, 10.0) == pytest.approx(10.020), "it is empty again"


@given(st.lists(st.floats(0.0, 0.01), min_size=1, max_size=200), st.integers(0, 5))
def test_jitter_reorders_nothing_and_chance_is_seeded(gaps: list[float], seed: int) -> None:
    def run() -> list[float | None]:
        direction, now, out = Direction(0.02, 1e6, jitter_s=0.01, loss=0.2, seed=seed), 0.0, []
        for gap in gaps:
            now += gap
            out.append(direction.arrives(100, now))
        return out

    first = run()
    assert first == run()
    there = [arrival for arrival in first if arrival is not None]
    assert there == sorted(there)


def test_loss_is_as_asked() -> None:
    direction = Direction(0.0, loss=0.1, seed=3)
    lost = sum(direction.arrives(100, float(n)) is None for n in range(5000))
    assert 400 < lost < 600


@needs_root
def test_the_tun_link_delays_and_limits(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with (
        namespaces.cable() as cable,
        tun.tun_link(cable.near, cable.far, SLOW),
        ServerProcess(
            ["benchmarks.links.probe", "serve", "0.0.0.0:0", str(ready)], ready, prefix=cable.inside(cable.far)
        ) as probe,
    ):
        address = f"{tun.far_address()}:{probe.wait_ready().listen.rpartition(':')[2]}"
        command = [sys.executable, "-m", "benchmarks.links.probe", "measure", address, "0.5", "10"]
        done = subprocess.run([*cable.inside(cable.near), *command], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    # Never faster than asked; a busy machine may make it slower.
    assert found["rtt_ms"] >= 30.0
    assert 0.2 < found["up_mbit"] <= 2.2
    assert 0.4 < found["down_mbit"] <= 4.4


def test_without_root_there_is_no_link_but_loopback() -> None:
    with pytest.raises(ConfigError, match="--links loopback"), Loopback().link(SLOW, {}):
        pass


def test_the_probe_measures_what_a_proxy_delays(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with (
        ServerProcess(["benchmarks.links.probe", "serve", "127.0.0.1:0", str(ready)], ready) as probe,
        LinkProcess(probe.wait_ready().listen, 0.015) as link,
    ):
        found = measure(link.address, 0.5, 10)
    assert found["rtt_ms"] >= 30.0
    assert min(found["up_mbit"], found["down_mbit"]) > 0.2
