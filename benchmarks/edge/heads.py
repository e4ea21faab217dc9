"""One step of a bundle's head, one thread, batch 1: ours by each runtime, beside plain snnTorch and other compilers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.edge.base import Measurement, Setup
from benchmarks.edge.other_heads import compiled, openvino, plain_snntorch
from benchmarks.record import Goal
from edge_client.heads.base import Head
from edge_client.heads.factory import open_head
from shared.bundle import Bundle
from shared.datasets.registry import read, request_for
from training.collect_spikes import SpikeTrain, bundle_samples, cloud_answers
from training.commands.graphs import add_graphs

PLAIN, OURS, INT8 = "plain snnTorch", "onnxruntime", "onnxruntime int8"
FLOAT32 = ("torch.compile", OURS, "OpenVINO")
THREADS = 1


def measure(setup: Setup) -> Measurement:
    """Steps of test samples, the heads taking turns sample by sample; then what each head's spikes are worth.

    A step is timed without the first convolution of a picture, which each head computes once before.
    """
    torch.set_num_threads(THREADS)
    bundle = with_graphs(setup)
    spec = bundle.manifest.network
    test = read(request_for(bundle.manifest, setup.dataset, setup.data, "test", allow_partial=True))
    samples, labels = test.frames[: 10 if setup.quick else 100], test.labels
    heads, missing = _heads(bundle, setup.quick)
    seconds: dict[str, list[float]] = {name: [] for name in heads}
    for number, sample in enumerate([samples[0], *samples]):
        for name, head in heads.items():
            took = _step_seconds(head, sample, spec.timesteps)
            if number:  # the first one warms up
                seconds[name].append(took)
    ms = {name: 1000 * np.array(values) for name, values in seconds.items()}
    worth = test.frames[: 20 if setup.quick else 1000]
    return Measurement(
        n={"samples timed": len(samples), "timesteps of each": spec.timesteps, "samples answered": len(worth)},
        results={
            "ms per step, median and quartiles": {
                name: [round(float(np.percentile(values, p)), 3) for p in (50, 25, 75)] for name, values in ms.items()
            },
            "times plain snnTorch, median": {name: _times(ms[PLAIN], values) for name, values in ms.items()},
            "not measured": missing,
            "spikes and answers": _worth(bundle, heads, worth, labels[: len(worth)]),
        },
        targets=_targets(ms, missing),
    )


def with_graphs(setup: Setup) -> Bundle:
    """The setup's bundle in `spiking`, which every head can run; or a copy with the graphs that it lacks."""
    bundle = Bundle.open(setup.bundle, "spiking")
    if bundle.has("head-step-int8"):
        return bundle
    copied = setup.folder / "with-graphs"
    if not copied.exists():
        shutil.copytree(bundle.path, copied)
        train, _ = bundle_samples(bundle, setup.dataset, setup.data)
        add_graphs(Bundle.open(copied, "spiking"), ("onnx", "onnx-int8"), lambda: train)
    return Bundle.open(copied, "spiking")


def _heads(bundle: Bundle, quick: bool) -> tuple[dict[str, Head], dict[str, str]]:
    """Those that are here, and why the others are not."""
    makers: dict[str, Callable[[], Head]] = {
        PLAIN: lambda: plain_snntorch(bundle),
        "torch, inference form": lambda: open_head(bundle, "torch", THREADS),
        OURS: lambda: open_head(bundle, "onnx", THREADS),
        INT8: lambda: open_head(bundle, "onnx-int8", THREADS),
        "OpenVINO": lambda: openvino(bundle, THREADS),
    }
    missing: dict[str, str] = {}
    if quick:
        missing["torch.compile"] = "--quick: it compiles for many seconds"
    else:
        makers["torch.compile"] = lambda: compiled(bundle)
    empty = np.zeros(bundle.manifest.network.sample_shape, np.uint8)
    heads: dict[str, Head] = {}
    for name, make in makers.items():
        try:
            head = make()
            _step_seconds(head, empty, 1)  # torch.compile needs a compiler only here
        except (ImportError, RuntimeError) as error:
            missing[name] = str(error).strip().splitlines()[0]
        else:
            heads[name] = head
    return heads, missing


def _step_seconds(head: Head, sample: NDArray[np.uint8], timesteps: int) -> float:
    run = head.start(sample)
    begun = time.perf_counter()
    for _ in range(timesteps):
        run.step()
    return (time.perf_counter() - begun) / timesteps


def _worth(
    bundle: Bundle, heads: Mapping[str, Head], samples: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Spikes that differ from plain snnTorch's, and the cloud's accuracy at full T with them."""
    reference = _spikes(bundle, heads[PLAIN], samples)
    found = {}
    for name, head in heads.items():
        spikes = _spikes(bundle, head, samples)
        found[name] = {
            "spikes that differ": round(float((spikes != reference).mean()), 6),
            "accuracy at full T": round(float((cloud_answers(bundle, spikes) == labels).mean()), 4),
        }
    return found


def _spikes(bundle: Bundle, head: Head, samples: NDArray[np.uint8]) -> SpikeTrain:
    timesteps = bundle.manifest.network.timesteps
    runs = (head.start(sample) for sample in samples)
    return np.stack([[run.step() for _ in range(timesteps)] for run in runs])


def _times(plain: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return round(float(np.median(plain / other)), 2)


def _targets(ms: Mapping[str, NDArray[np.float64]], missing: Mapping[str, str]) -> list[Goal]:
    others = [name for name in FLOAT32 if name in ms]
    best = min(others, key=lambda name: float(np.median(ms[name])))
    note = "".join(f"; without {name}" for name in missing)
    return [
        Goal(
            "head step by onnxruntime, times plain snnTorch",
            2.0,
            _times(ms[PLAIN], ms[OURS]),
            "ratio",
            "higher",
            f"float32, what --runtime auto takes; int8 {_times(ms[PLAIN], ms[INT8])}",
        ),
        Goal(
            "head step by onnxruntime, over the best of torch.compile, onnxruntime and OpenVINO",
            1.5,
            round(float(np.median(ms[OURS] / ms[best])), 2),
            "ratio",
            "lower",
            f"float32; the best is {best}{note}",
        ),
    ]
