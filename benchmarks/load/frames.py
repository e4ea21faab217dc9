"""What load generators send: real pictures through the head and the codec, serialised before anything is timed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from benchmarks.dataset_samples import samples_of
from benchmarks.load.samples import LoadSamples
from edge_client.heads.base import InputArray
from edge_client.heads.torch_head import TorchHead
from shared.bundle import Bundle
from shared.bundle_writer import write_bundle
from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec, Manifest, Normalisation
from shared.messages import EdgeMessage, Frame, Open, Stop
from shared.models.load import export_weights
from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec
from shared.spike_codec import SpikeCodec
from shared.wire import edge_to_wire

UNTRAINED = "resnet18-untrained"
NOISE_PICTURES = 64


def encode(bundle: Bundle, pictures: Sequence[InputArray]) -> LoadSamples:
    """Run the head over pictures [C, H, W] or event clips [T, C, H, W] and encode what crosses the link.

    Raises:
        BundleError: the head or the codec's tables are missing or damaged.
    """
    head, codec = TorchHead(bundle), SpikeCodec.of(bundle)
    timesteps = bundle.manifest.network.timesteps
    spikes = np.empty((len(pictures), timesteps, *bundle.manifest.frame_shape), np.uint8)
    messages: list[tuple[bytes, ...]] = []
    with click.progressbar(pictures, label="encoding frames", file=sys.stderr) as progress:
        for number, picture in enumerate(progress):
            run, past, frames = head.start(picture), None, []
            for timestep in range(1, timesteps + 1):
                frame = spikes[number, timestep - 1] = run.step()
                chosen, data = codec.encode(frame, past)
                past = codec.next_context(past, frame)
                frames.append(_bytes(Frame(number, timestep, chosen, data)))
            messages.append(tuple(frames))
    stops = tuple(_bytes(Stop(number)) for number in range(len(pictures)))
    opening = _bytes(Open(bundle.fingerprint, bundle.execution))
    return LoadSamples(opening, tuple(messages), stops, bundle.manifest.network.classes, spikes)


def pictures_of(bundle: Bundle, dataset: str, data: Path | None, limit: int) -> list[InputArray]:
    """At most `limit` inputs of a data set, or a few pictures of noise for an untrained bundle."""
    if bundle.manifest.name == UNTRAINED:
        return list(noise_pictures(bundle.manifest.network, min(limit, NOISE_PICTURES)))
    return [sample.pixels for sample in samples_of(bundle, dataset, data, limit)]


def noise_pictures(spec: NetworkSpec, count: int) -> InputArray:
    """Pictures [N, C, H, W] of coloured patches."""
    random = np.random.default_rng(0)
    channels, height, width = spec.input_shape
    patches = random.integers(0, 256, (count, channels, 4, 4), dtype=np.uint8)
    return np.kron(patches, np.ones((-(-height // 4), -(-width // 4)), np.uint8))[..., :height, :width]


def untrained_bundle(folder: Path, width: int = 64, side: int = 32) -> Bundle:
    """A ResNet-18 that was never trained: its steps take as long as a trained one's.

    Args:
        folder: where it is written.
        width: channels of the first stage; 64 is the full width.
        side: of its square pictures, pixels.
    """
    spec = NetworkSpec("resnet18", (3, side, side), 10, "layer1", width, bottleneck=BottleneckSpec(8, 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SplitNetwork(spec).train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # the statistics of the one pass below: without them hardly a neuron fires
        with torch.no_grad():
            network((torch.from_numpy(noise_pictures(spec, 8)).float() / 255 - 0.5) / 0.25)
    manifest = Manifest(
        name=UNTRAINED,
        network=spec,
        frame_shape=network.edge.out_shape,
        split_shape=network.edge.head.out_shape,
        class_names=tuple(f"class{index}" for index in range(spec.classes)),
        normalisation=Normalisation(1 / 255, (0.5,) * 3, (0.25,) * 3),
        executions={"spiking": ExecutionSpec(1.0, ExitPolicy("max_probability", 0.9))},
        default_execution="spiking",
        provenance={"data_set": "none"},
    )
    return write_bundle(folder, manifest, export_weights(network.edge.eval()), export_weights(network.cloud.eval()))


def _bytes(message: EdgeMessage) -> bytes:
    return edge_to_wire(message).SerializeToString()
