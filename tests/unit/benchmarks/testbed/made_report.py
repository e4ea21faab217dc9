"""A record of several alternatives over several links, made from a seed: for tests of the report and of `advise`.

Latencies follow the model of `benchmarks.testbed.advice` closely, so that a fit has something to find.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.links.profiles import LinkProfile
from benchmarks.record import Clock, Findings
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.goals import goals
from benchmarks.testbed.samples_file import columns_of, write_samples
from benchmarks.testbed.schema import (
    CLOUD,
    EDGE,
    PARTS,
    Figure,
    FittedFile,
    MeasuredLink,
    Testbed,
    TestbedRun,
    WholeTest,
    to_results,
)
from tests.unit.benchmarks.testbed.made import made_testbed

ALTERNATIVES = (
    Alternative("edge-only", "edge only", "edge", "uncompressed", False),
    Alternative("png", "cloud only, PNG", "picture", "uncompressed", True, codec="png"),
    Alternative("jpeg-50", "cloud only, JPEG q50", "picture", "uncompressed", True, codec="jpeg", quality=50),
    Alternative("jpeg-90", "cloud only, JPEG q90", "picture", "uncompressed", True, codec="jpeg", quality=90),
    Alternative("webp-75", "cloud only, WebP q75", "picture", "uncompressed", True, codec="webp", quality=75),
    Alternative(
        "webp-equal", "cloud only, WebP q60", "picture", "uncompressed", True, codec="webp", quality=60, fitted=True
    ),
    Alternative("http-webp", "BentoML, WebP q60", "http", "uncompressed", False, codec="webp", quality=60, fitted=True),
    Alternative("plain-int8", "plain int8", "plain", "uncompressed", False, int8=True),
    Alternative("split-float32", "split, float32 features", "float32", "uncompressed", True),
    Alternative("split-packed", "split, packed spikes", "pair", "uncompressed", True, 1),
    Alternative("bottleneck-exit", "bottleneck, early exit", "pair", "bottleneck", True, 1),
    Alternative("full", "NeuCODEX", "pair", "bottleneck", True, "auto"),
)
BYTES = dict(
    zip((a.name for a in ALTERNATIVES), (0, 2256, 700, 1107, 349, 300, 300, 0, 65536, 2048, 60, 60), strict=True)
)
LINKS = (("lan", 0.5, 900.0), ("wifi", 4.0, 50.0), ("lte", 50.0, 15.0), ("lora", 200.0, 0.05))
HEAD_MS, WHOLE_MS, TAIL_MS = 10.0, 50.0, 4.0


def made_report_testbed(samples: int = 40) -> Testbed:
    """Every alternative over every link."""
    random = np.random.default_rng(0)
    base = made_testbed(samples)
    runs, columns = [], {}
    links = tuple(
        MeasuredLink(
            LinkProfile(name, rtt, rate, rate, 0.0, 0.0, "made"), "tun", True, rtt * 1.02, rtt * 1.2, 0.0, rate, rate
        )
        for name, rtt, rate in LINKS
    )
    for name, rtt, rate in LINKS:
        for alternative in ALTERNATIVES:
            rows = [_row(alternative, rtt, rate, number, random) for number in range(samples)]
            made = columns_of(rows, 4)
            right = float(made.right.mean())
            figures = {
                part: _figure([row[part] for row in rows])
                for part in (
                    *PARTS,
                    "latency_ms",
                    "payload_bytes",
                    "timesteps",
                    "compute_j",
                    "radio_j",
                    "busy_core_s",
                    "board_compute_j",
                    "board_radio_j",
                    "board_idle_j",
                )
            }
            figures["link_bytes"] = _figure([row["link_up_bytes"] + row["link_down_bytes"] for row in rows])
            run = TestbedRun(alternative.name, name, "pi", samples, samples, 1.0, _figure([right]), figures)
            runs.append(run)
            columns[run.key] = made
    whole_test = WholeTest(0.91, 0.92, 10_000)
    network = replace(
        base.networks["bottleneck"], split_shape=(64, 32, 32), frame_shape=(16, 8, 8), whole_test=whole_test
    )
    spikes = (random.random((4, 4, 8, 8)) < 0.2).astype(np.uint8)
    confidences = random.dirichlet(np.ones(10), 4).astype(np.float32)
    trace = replace(base.traces[0], picture=random.integers(0, 255, (3, 32, 32), np.uint8), spikes=spikes,
                    confidences=confidences)  # fmt: skip
    return replace(
        base,
        alternatives=ALTERNATIVES,
        links=links,
        runs=tuple(runs),
        columns=columns,
        networks={"bottleneck": network, "uncompressed": network},
        traces=(trace,),
        fitted=(FittedFile("webp", 60, 0.91, 0.9, 500), FittedFile("jpeg", 95, 0.8, 0.9, 500)),
        passed_over=("float32 over LoRa: <b>no time</b>",),
    )


def write_record(testbed: Testbed, folder: Path) -> Path:
    """As the testbed does it."""
    write_samples(testbed, folder)
    Clock("testbed").write(Findings({"samples": 40}, to_results(testbed), goals(testbed)), folder)
    return folder


def _row(alternative: Alternative, rtt: float, rate: float, number: int, random: np.random.Generator) -> dict[str, Any]:
    steps = int(random.choice([1, 1, 1, 2, 4])) if alternative.early_exit else 4
    size = BYTES[alternative.name]
    on_edge, sent = alternative.kind in ("edge", "plain"), alternative.kind in ("pair", "float32")
    rounds = 0 if on_edge else steps if sent else 1
    wire_ms = 1.0 * (size + 200) * 8 / (rate * 1e3)
    parts = {
        "head_ms": WHOLE_MS * steps if on_edge else HEAD_MS * steps if sent else 0.0,
        "encode_ms": 0.1 * rounds,
        "uplink_ms": rounds * (rtt / 2 + wire_ms),
        "queue_ms": 0.05 * rounds,
        "tail_ms": 0.0 if on_edge else TAIL_MS * steps,
        "downlink_ms": rounds * rtt / 2,
        "other_ms": float(random.uniform(0.0, 0.2)),
    }
    latency = sum(parts.values())
    return {
        "sample": number,
        "label": number % 10,
        "predicted": number % 10 if random.random() < 0.9 else (number + 1) % 10,
        "answered_by": EDGE if on_edge else CLOUD,
        "timesteps": steps,
        "head_steps": steps,
        "payload_bytes": size * rounds,
        "message_bytes": (size + 20) * rounds,
        "link_up_bytes": float((size + 120) * rounds),
        "link_down_bytes": 120.0 * rounds,
        **parts,
        "latency_ms": latency,
        "compute_j": 1e-4 * steps * (5 if on_edge else 1 if sent else 0),
        "radio_j": 0.0 if on_edge else 1e-6 * size * rounds + 0.13 * latency / 1e3,
        "busy_core_s": parts["head_ms"] / 1e3 + 0.002,
        "board_compute_j": 0.925 * (parts["head_ms"] / 1e3 + 0.002),
        "board_radio_j": 1e-3 * rounds,
        "board_idle_j": 2.7 * latency / 1e3,
        "confidence": [0.5] * steps,
    }


def _figure(values: list[float]) -> Figure:
    at = np.asarray(values, float)
    quantiles = [float(np.percentile(at, q)) for q in (50, 95, 99)]
    return Figure(float(at.mean()), *quantiles, float(at.min()), float(at.max()))
