"""What docs/operations.md says of a fleet's size: figures of the records that it names, and products of them."""

from __future__ import annotations

import json
from math import ceil
from typing import Any

import pytest

from tests.support.prometheus import ROOT

PAGE = (ROOT / "docs/operations.md").read_text().partition("## Sizing a fleet")[2].partition("\n## ")[0]
TEXT = " ".join(PAGE.split())
"""Without line breaks, which may be anywhere in a sentence."""
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
SHOWN = {name: value for name, value, *rest in ROWS if not rest}
OVERHEAD = 14 + 26 + 52
"""Bytes of a message beyond itself: framing, window updates, TCP/IP."""


def results(record: str) -> Any:
    path = f"benchmarks/records/{record}/record.json"
    assert path in PAGE
    return json.loads((ROOT / path).read_text())["results"]


def lockstep(link: str) -> dict[str, float]:
    """Means of the testbed's early exit in lockstep over this link."""
    (run,) = (
        run
        for run in results("2026-11-26-testbed")["runs"]
        if run["alternative"] == "bottleneck-exit" and run["link"] == link
    )
    return {name: figure["mean"] for name, figure in run["figures"].items()}


STEPS = next(
    row["steps_per_second"]["median"]
    for row in results("2026-11-24-serving-cifar10")["throughput"]
    if row["streams"] == 64
)
WIFI = lockstep("wifi")
T, UP, DOWN = round(WIFI["timesteps"], 2), round(WIFI["link_up_bytes"]), round(WIFI["link_down_bytes"])
"""As the page shows them; its products are of these."""


def test_the_figures_are_those_of_the_records() -> None:
    assert SHOWN["steps a second, 64 streams"] == f"{STEPS:.0f}"
    assert SHOWN["mean timesteps of a sample"] == f"{WIFI['timesteps']:.2f}"
    assert SHOWN["so samples a second"] == f"{STEPS / WIFI['timesteps']:.0f}"
    assert SHOWN["streams open at once, all served"] == f"{results('2026-11-24-serving-cifar10')['crowd']['served']:,}"
    for way in ("up", "down"):
        assert SHOWN[f"bytes of a sample on the link, {way}"] == f"{WIFI[f'link_{way}_bytes']:.0f}"


@pytest.mark.parametrize("row", [row for row in ROWS if row[0].startswith("10^")], ids=lambda row: row[0])
def test_a_fleet_is_their_product(row: list[str]) -> None:
    assert f"E x r x {T} / ({STEPS:.0f} x 0.6)" in PAGE
    assert f"r x ({UP} + {DOWN}) x 86,400" in PAGE
    edges = 10 ** int(row[0].removeprefix("10^"))
    cores = ceil(edges * T / (round(STEPS) * 0.6))
    shown = [float(cell.replace(",", "").removesuffix(" MB")) for cell in row[1:6]]
    exact = [cores, max(cores, edges / 1000), edges * UP * 8e-6, edges * DOWN * 8e-6, (UP + DOWN) * 86_400e-6]
    assert shown == pytest.approx(exact, rel=0.03)


def test_the_rule_for_another_bundle_gives_what_was_counted() -> None:
    answer = results("2026-11-25-messages")["lockstep"]["down: message, mean"]
    assert f"message bytes + {OVERHEAD} t" in TEXT
    assert f"down = {answer + OVERHEAD:.0f} t" in TEXT
    up, down = (WIFI["message_bytes"] + OVERHEAD * WIFI["timesteps"], (answer + OVERHEAD) * WIFI["timesteps"])
    assert f"These give {up:.0f} and {down:.0f} bytes" in TEXT
    ups, downs = [], []
    for link in ("loopback", "lan", "lte", "3g", "lora", "satellite"):
        counted = lockstep(link)
        ups.append((counted["message_bytes"] + OVERHEAD * counted["timesteps"]) / counted["link_up_bytes"])
        downs.append((answer + OVERHEAD) * counted["timesteps"] / counted["link_down_bytes"])
    assert max(ups + downs) < 1.005
    assert f"up to {100 * (1 - min(ups)):.0f} % (up) and {100 * (1 - min(downs)):.0f} % (down) fewer" in TEXT
