"""The row about energy."""

from __future__ import annotations

from panels import Panel, Question
from queries import (
    SAMPLES,
    per_second,
)

ENERGY = Question(
    "What energy does a sample cost the edge?",
    (
        Panel(
            "Modelled",
            "Mean joules of a sample by the model of docs/energy.md: operations of the network on 45 nm, and bytes and "
            "waiting on the radio that the edge was told of (--radio). For comparisons, not for a battery.",
            "joule",
            {
                "{{part}}": f"{per_second('neucodex_edge_modelled_joules_total', 'part')} "
                f"/ ignoring (part) group_left {SAMPLES}"
            },
            "stacked",
        ),
        Panel(
            "By the board's stated power",
            "Mean joules of a sample: the edge's own processor time, its packets, and the idle board for as long as it "
            "took, times the watts and joules that shared/boards.json states for the board named by --board.",
            "joule",
            {
                "{{part}}": f"{per_second('neucodex_edge_board_joules_total', 'part')} "
                f"/ ignoring (part) group_left {SAMPLES}"
            },
            "stacked",
        ),
        Panel(
            "Processor time of a sample",
            "Mean seconds of a core that the edge's process computed for a sample.",
            "s",
            {"busy": f"{per_second('neucodex_edge_busy_core_seconds_total')} / {SAMPLES}"},
        ),
        Panel(
            "Packets of a sample",
            "Mean messages of a sample, which are a packet each.",
            "none",
            {"{{way}}": f"{per_second('neucodex_edge_packets_total', 'way')} / ignoring (way) group_left {SAMPLES}"},
        ),
        Panel(
            "Measured",
            "Mean joules of a sample by the edges' own meters: all that is behind them, waiting and other programs "
            "included. Empty where no edge has a meter.",
            "joule",
            {
                "{{meter}}": f"{per_second('neucodex_edge_measured_joules_total', 'meter')} "
                f"/ ignoring (meter) group_left {SAMPLES}"
            },
        ),
        Panel(
            "Power, measured",
            "Watts of the edges that have a meter.",
            "watt",
            {"{{meter}}": per_second("neucodex_edge_measured_joules_total", "meter")},
        ),
    ),
)
