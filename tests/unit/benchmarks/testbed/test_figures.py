from __future__ import annotations

import numpy as np
import pytest

from benchmarks.testbed.attribution import attribute
from benchmarks.testbed.picture_files import decode, encode
from benchmarks.testbed.plan import ALTERNATIVES
from benchmarks.testbed.summary import figure, figures
from shared.boards import boards
from tests.unit.benchmarks.testbed.made import made_columns, made_testbed

FULL = next(alternative for alternative in ALTERNATIVES if alternative.name == "full")


def test_percentiles_and_an_interval_that_holds_the_mean() -> None:
    values = np.random.default_rng(1).exponential(2.0, 400)
    found = figure(values, of_median=False)
    assert found.median == pytest.approx(np.median(values), abs=1e-6)
    assert found.p99 == pytest.approx(np.percentile(values, 99), abs=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high
    # The standard error of a mean of 400, twice each way.
    assert found.high - found.low == pytest.approx(4 * values.std() / 20, rel=0.2)


def test_nothing_known_is_none_and_a_constant_has_no_spread() -> None:
    assert figure(np.full(5, np.nan), of_median=True).mean is None
    same = figure(np.full(5, 3.0), of_median=True)
    assert (same.low, same.median, same.high) == (3.0, 3.0, 3.0)


def test_link_bytes_are_those_of_both_ways() -> None:
    columns = made_columns(20, 4)
    accuracy, found = figures(columns)
    assert accuracy.mean == 0.75
    assert found["link_bytes"].mean == pytest.approx(220.0 * columns.timesteps.mean(), rel=1e-5)


def test_transit_is_divided_by_the_links_rates_and_parts_add_up() -> None:
    made = made_testbed()
    link, network = made.links[0], made.networks["bottleneck"]
    row = {
        "sample": 0, "label": 1, "predicted": 1, "timesteps": 1, "head_steps": 1, "latency_ms": 100.0,
        "head_ms": 10.0, "tail_ms": 5.0, "transit_ms": 80.0, "message_bytes": 50_000, "link_up_bytes": 52_000.0,
        "link_down_bytes": 500.0,
    }  # fmt: skip
    columns = attribute([row], FULL, link, network, boards()["pi-4b"])
    assert columns.uplink_ms[0] + columns.downlink_ms[0] == pytest.approx(80.0)
    assert columns.uplink_ms[0] > 3 * columns.downlink_ms[0]
    assert columns.other_ms[0] == pytest.approx(5.0)
    assert (columns.macs[0], columns.accumulates[0]) == (1000.0, 200.0)
    # 1000 multiplications at 4.6 pJ and 200 additions at 0.9 pJ.
    assert columns.compute_j[0] == pytest.approx(4.78e-9)
    assert columns.radio_j[0] > 52_000 * 283.17e-9 * 8 / 1000


def test_parts_that_overlap_are_scaled_to_the_latency() -> None:
    made = made_testbed()
    row = {"timesteps": 2, "latency_ms": 10.0, "head_ms": 10.0, "tail_ms": 10.0, "label": 0, "predicted": 0}
    columns = attribute([row], FULL, made.links[0], made.networks["bottleneck"], boards()["pi-4b"])
    assert (columns.head_ms[0], columns.tail_ms[0]) == (5.0, 5.0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("codec", "quality"), [("raw", None), ("png", None), ("webp", None), ("jpeg", 95)])
def test_a_picture_comes_back(channels: int, codec: str, quality: int | None) -> None:
    ramp = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack([ramp] * channels)
    data = encode(pixels, codec, quality)
    back = decode(data, codec, pixels.shape)
    assert back.shape == pixels.shape
    most = 0 if quality is None else 12
    assert np.abs(back.astype(int) - pixels).max() <= most


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="no jpeg file"):
        decode(b"nothing", "jpeg", (3, 8, 8))
    with pytest.raises(ValueError, match="cannot reshape"):
        decode(encode(np.zeros((3, 4, 4), np.uint8), "png", None), "png", (3, 8, 8))
