"""What is measured of the networks themselves, here: firing rates by layer, and a few pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.testbed.schema import LayerOperations, LayerSpikes, MeasuredNetwork, Trace, WholeTest
from benchmarks.testbed.whole_network import TailRun, WholeNetwork
from edge_client.inference.sample import Sample
from shared.bundle import Bundle
from shared.energy import local_exit_macs
from shared.operations import Side
from training.data import Samples
from training.device import Machine
from training.evaluate import spike_statistics
from training.execute import execute_bundle


def measure_network(bundle: Bundle, samples: Sequence[Sample]) -> MeasuredNetwork:
    """A bundle's network, with its firing rates over these pictures at full T."""
    manifest = bundle.manifest
    spec = manifest.network
    frames = torch.from_numpy(np.stack([sample.pixels for sample in samples]))
    labels = torch.tensor([sample.label or 0 for sample in samples])
    here = Machine(torch.device("cpu"), bfloat16=False)
    found = spike_statistics(execute_bundle(bundle), Samples(frames, labels), manifest.normalisation, here)
    return MeasuredNetwork(
        bundle=manifest.name,
        fingerprint=bundle.fingerprint.hex(),
        split=spec.split,
        timesteps=spec.timesteps,
        split_shape=manifest.split_shape,
        frame_shape=manifest.frame_shape,
        samples=len(samples),
        operations=tuple(LayerOperations(half=_half(layer["name"]), **layer) for layer in found["operations"]),
        spikes=tuple(LayerSpikes(half=_half(layer["name"]), **layer) for layer in found["layers"]),
        local_exit_macs=local_exit_macs(bundle.settings),
        whole_test=_whole_test(bundle),
    )


def _whole_test(bundle: Bundle) -> WholeTest | None:
    test = bundle.settings.measured.get("test") or {}
    try:
        uncompressed = (test.get("uncompressed_accuracy_by_timestep") or [None])[-1]
        return WholeTest(test["accuracy_with_exit"], test["accuracy_by_timestep"][-1], test["samples"], uncompressed)
    except KeyError:  # it was never evaluated
        return None


def trace(bundle: Bundle, samples: Sequence[Sample]) -> tuple[Trace, ...]:
    """What these pictures send at all timesteps, and what the cloud would say to it."""
    network = WholeNetwork(bundle, 1)
    traces = []
    for sample in samples:
        run, rest = network.head.start(sample.pixels), TailRun(network.tail)
        spikes = [run.step() for _ in range(bundle.manifest.network.timesteps)]
        confidences = np.stack([rest.step(frame) for frame in spikes])
        label = -1 if sample.label is None else sample.label
        traces.append(Trace(sample.id, label, sample.pixels, np.stack(spikes), confidences))
    return tuple(traces)


def _half(name: str) -> Side:
    return "edge" if name.startswith("edge.") else "cloud"
