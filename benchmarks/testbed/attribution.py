"""From what an edge said of its samples to columns: the network's share of the latency divided, energy reckoned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.samples_file import columns_of
from benchmarks.testbed.schema import PARTS, Columns, MeasuredLink, MeasuredNetwork
from shared.boards import SILENT, Board, Time, Traffic
from shared.energy import RADIOS, Radio, compute_joules, radio_joules

CABLES = ("loopback", "lan")

UNKNOWN_MBIT = 1e5


def radio_of(link: str) -> Radio:
    """The radio of the edge on that link: the one of the link's name; other links have none that is modelled."""
    return next((radio for name, radio in RADIOS.items() if name == link), RADIOS["none"])


def attribute(
    rows: Sequence[Mapping[str, Any]],
    alternative: Alternative,
    link: MeasuredLink,
    network: MeasuredNetwork,
    board: Board,
) -> Columns:
    """A run's rows as columns.

    Args:
        rows: as `benchmarks.testbed.edge_worker` gives them.
        alternative: what was done.
        link: measured: how its time is divided between the two ways.
        network: whose operations the edge did.
        board: whose stated power the time and the packets are charged at.
    """
    made = ({**_row(row, alternative, link, network), **_of_board(row, link, board)} for row in rows)
    return columns_of(list(made), network.timesteps)


def _of_board(row: Mapping[str, Any], link: MeasuredLink, board: Board) -> dict[str, float]:
    """Its joules. A board's radio is its Wi-Fi: over a cable there is none, over other links it is not known."""
    names = ("link_up_bytes", "link_up_packets", "link_down_bytes", "link_down_packets")
    counted = Traffic(*(float(row.get(name, math.nan)) for name in names))
    silent = not row.get("message_bytes") or link.asked.name in CABLES
    spent = board.spend(Time(row["latency_ms"] / 1000, row.get("busy_core_s", math.nan)), SILENT if silent else counted)
    known = silent or link.asked.name == "wifi"
    radio_j = spent.radio_j if known else math.nan
    return {"board_compute_j": spent.compute_j, "board_radio_j": radio_j, "board_idle_j": spent.idle_j}


def _row(
    row: Mapping[str, Any], alternative: Alternative, link: MeasuredLink, network: MeasuredNetwork
) -> dict[str, Any]:
    made = dict(row)
    up, down = made.get("link_up_bytes", 0.0), made.get("link_down_bytes", 0.0)
    made |= _divided(made, link, up, down)
    on_edge = made.get("head_steps", 0)
    # A picture that was sent was not run here; the picture's own coding is not counted.
    macs = network.edge_macs if on_edge else 0.0
    macs += network.local_exit_macs * made.get("local_exits", 0)
    if alternative.kind == "plain":  # every operation multiplies
        macs = sum(layer.dense for layer in network.operations)
    accumulates = network.accumulates("edge") * on_edge
    if alternative.kind == "edge":
        accumulates += network.accumulates("cloud") * on_edge
    awake_s = made.get("on_air_ms", 0.0) / 1000
    sent = made.get("message_bytes", 0) > 0
    radio_j = radio_joules(radio_of(link.asked.name), up, down, awake_s) if "link_up_bytes" in made else math.nan
    made |= {
        "macs": macs,
        "accumulates": accumulates,
        "compute_j": compute_joules(macs, accumulates),
        "radio_j": radio_j if sent else 0.0,
    }
    return made


def _divided(row: Mapping[str, Any], link: MeasuredLink, up: float, down: float) -> dict[str, float]:
    """The parts of the latency: transit by round trip and rates, overlapping time scaled, the rest as other."""
    trips = max(row.get("timesteps", 1), 1) * (link.rtt_ms or 0.1) / 2
    up_share = trips + up * 8 / 1000 / (link.up_mbit or UNKNOWN_MBIT)
    down_share = trips + down * 8 / 1000 / (link.down_mbit or UNKNOWN_MBIT)
    parts = {part: float(row.get(part, 0.0)) for part in PARTS}
    parts["uplink_ms"] = row.get("transit_ms", 0.0) * up_share / (up_share + down_share)
    parts["downlink_ms"] = row.get("transit_ms", 0.0) - parts["uplink_ms"]
    whole, latency = sum(parts.values()), row["latency_ms"]
    if whole > latency:
        return {part: spent * latency / whole for part, spent in parts.items()}
    return {**parts, "other_ms": latency - whole}
