"""A small testbed record, made by hand: for tests of what reads one."""

from __future__ import annotations

import numpy as np

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.samples_file import columns_of
from benchmarks.testbed.schema import (
    CLOUD,
    Columns,
    EdgeProfile,
    Figure,
    LayerOperations,
    LayerSpikes,
    MeasuredCloud,
    MeasuredEdge,
    MeasuredLink,
    MeasuredNetwork,
    Testbed,
    TestbedRun,
    Trace,
)


def made_columns(samples: int, timesteps: int, seed: int = 0) -> Columns:
    """Samples of a pair: right three times of four."""
    random = np.random.default_rng(seed)
    rows = []
    for sample in range(samples):
        steps = int(random.integers(1, timesteps + 1))
        parts = dict(zip(("head_ms", "encode_ms", "uplink_ms", "queue_ms"), random.uniform(0.1, 2.0, 4), strict=True))
        rows.append(
            {
                "sample": sample,
                "label": sample % 10,
                "predicted": sample % 10 if sample % 4 else (sample + 1) % 10,
                "answered_by": CLOUD,
                "timesteps": steps,
                "head_steps": steps,
                "payload_bytes": 12 * steps,
                "message_bytes": 20 * steps,
                "link_up_bytes": 120.0 * steps,
                "link_down_bytes": 100.0 * steps,
                "link_up_packets": 2.0 * steps,
                "link_down_packets": 1.0 * steps,
                "busy_core_s": 0.01 * steps,
                **parts,
                "latency_ms": sum(parts.values()),
                "confidence": [0.5] * steps,
            }
        )
    return columns_of(rows, timesteps)


def made_testbed(samples: int = 8) -> Testbed:
    """One run of the pair over Wi-Fi."""
    figure = Figure(0.75, 1.0, 1.0, 1.0, 0.5, 1.0)
    run = TestbedRun("full", "wifi", "pi", samples, samples, 1.5, figure, {"latency_ms": figure})
    network = MeasuredNetwork(
        bundle="models/made",
        fingerprint="00",
        split="layer1",
        timesteps=4,
        split_shape=(16, 32, 32),
        frame_shape=(4, 8, 8),
        samples=samples,
        operations=(
            LayerOperations("edge.embedding", "edge", 1000.0, 1.0, True),
            LayerOperations("edge.head", "edge", 2000.0, 0.1, False),
        ),
        spikes=(LayerSpikes("edge.head", "edge", (16, 32, 32), 0.1),),
    )
    return Testbed(
        dataset="digits",
        class_names=tuple("0123456789"),
        main=("wifi", "pi"),
        threshold=0.9,
        alternatives=(Alternative("full", "NeuCODEX", "pair", "bottleneck", True, "auto"),),
        links=(
            MeasuredLink(
                LinkProfile("wifi", 4.0, 50.0, None, 0.0, 1.0, "made"), "tun", True, 4.1, 5.0, 0.0, 48.0, 49.0
            ),
        ),
        edges=(MeasuredEdge(EdgeProfile("pi", 0.1, "made"), "paced", 10.0, 50.0, 5.0, "onnx"),),
        cloud=MeasuredCloud(4.0, 6.0, 60.0, 1, "fp32"),
        networks={"bottleneck": network},
        energy="modelled",
        board="pi-4b",
        runs=(run,),
        columns={run.key: made_columns(samples, 4)},
        traces=(
            Trace(
                0, 3, np.zeros((1, 8, 8), np.uint8), np.ones((4, 4, 8, 8), np.uint8), np.full((4, 10), 0.1, np.float32)
            ),
        ),
    )
