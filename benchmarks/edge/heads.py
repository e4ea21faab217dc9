"""One step of a bundle's head, one thread, batch 1: ours by each runtime, beside plain snnTorch and torch.compile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.edge.base import Setup
from benchmarks.record import Findings, Goal
from benchmarks.snntorch_neuron import Leaky
from edge_client.heads.base import Head
from edge_client.heads.factory import open_head
from edge_client.heads.torch_head import TorchHead
from shared.bundle import Bundle
from shared.datasets.registry import read, request_for
from shared.models.load import load_edge
from training.collect_spikes import SpikeTrain, bundle_samples, cloud_answers
from training.commands.graphs import add_graphs

PLAIN, OURS, INT8, COMPILED = "plain snnTorch", "onnxruntime", "onnxruntime int8", "torch.compile"
THREADS = 1


def measure(setup: Setup) -> Findings:
    """Steps of test samples, the heads taking turns sample by sample; then what each head's spikes are worth.

    A step is timed without the first convolution of a picture, which each head computes once before.
    """
    torch.set_num_threads(THREADS)
    bundle = with_graphs(setup)
    timesteps = bundle.manifest.network.timesteps
    test = read(request_for(bundle.manifest, setup.dataset, setup.data, "test", allow_partial=True))
    samples, worth = (test.frames[:count] for count in ((10, 20) if setup.quick else (100, 1000)))
    heads, missing = _heads(bundle, setup.quick)
    seconds: dict[str, list[float]] = {name: [] for name in heads}
    for number, sample in enumerate([samples[0], *samples]):
        for name, head in heads.items():
            took = _step_seconds(head, sample, timesteps)
            if number:  # the first one warms up
                seconds[name].append(took)
    ms = {name: 1000 * np.array(values) for name, values in seconds.items()}
    times = {name: round(float(np.median(ms[PLAIN] / values)), 2) for name, values in ms.items()}
    spikes = {name: _spikes(head, worth, timesteps) for name, head in heads.items()}
    return Findings(
        n={"samples timed": len(samples), "timesteps of each": timesteps, "samples answered": len(worth)},
        results={
            "ms per step, median and quartiles": {
                name: [round(float(np.percentile(values, p)), 3) for p in (50, 25, 75)] for name, values in ms.items()
            },
            "times plain snnTorch, median": times,
            "not measured": missing,
            "spikes and answers": {
                name: {
                    "spikes that differ": round(float((found != spikes[PLAIN]).mean()), 6),
                    "accuracy at full T": _accuracy(bundle, found, test.labels),
                }
                for name, found in spikes.items()
            },
        },
        targets=_goals(ms, times, missing),
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


def plain_snntorch(bundle: Bundle) -> TorchHead:
    """The modules as they were trained, `snn.Leaky` in each neuron's place, no fusing, the default memory layout."""
    head = TorchHead(bundle)
    head.network = load_edge(bundle)
    for neuron in head.network.neurons:
        neuron.recurrence = Leaky(neuron)
    return head


def compiled(bundle: Bundle) -> TorchHead:
    """The form for inference under torch.compile, its neurons out of place so that all of it can be fused."""
    head = TorchHead(bundle)
    for neuron in head.network.neurons:
        neuron.recurrence = None
    head.network.step = torch.compile(head.network.step, dynamic=False)  # type: ignore[method-assign]
    return head


def _heads(bundle: Bundle, quick: bool) -> tuple[dict[str, Head], dict[str, str]]:
    """Those that are here, and why the others are not."""
    makers: dict[str, Callable[[], Head]] = {
        PLAIN: lambda: plain_snntorch(bundle),
        "torch, inference form": lambda: open_head(bundle, "torch", THREADS),
        OURS: lambda: open_head(bundle, "onnx", THREADS),
        INT8: lambda: open_head(bundle, "onnx-int8", THREADS),
    }
    missing: dict[str, str] = {}
    if quick:
        missing[COMPILED] = "--quick: it compiles for many seconds"
    else:
        makers[COMPILED] = lambda: compiled(bundle)
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


def _spikes(head: Head, samples: NDArray[np.uint8], timesteps: int) -> SpikeTrain:
    runs = (head.start(sample) for sample in samples)
    return np.stack([[run.step() for _ in range(timesteps)] for run in runs])


def _accuracy(bundle: Bundle, spikes: SpikeTrain, labels: NDArray[np.int64]) -> float:
    """Of the cloud at full T."""
    return round(float((cloud_answers(bundle, spikes) == labels[: len(spikes)]).mean()), 4)


def _goals(ms: dict[str, NDArray[np.float64]], times: dict[str, float], missing: dict[str, str]) -> list[Goal]:
    best = min((name for name in (COMPILED, OURS) if name in ms), key=lambda name: float(np.median(ms[name])))
    over = round(float(np.median(ms[OURS] / ms[best])), 2)
    without = "".join(f"; without {name}" for name in missing)
    name = "head step by onnxruntime, times plain snnTorch"
    note = f"float32, what --runtime auto takes; int8 {times[INT8]}"
    rival = "head step by onnxruntime, over the better of torch.compile and onnxruntime"
    return [
        Goal(name, 2.0, times[OURS], "ratio", "higher", note),
        Goal(rival, 1.5, over, "ratio", "lower", f"float32; the best is {best}{without}"),
    ]
