"""Tiny bundles for tests: never trained, but alive.

A freshly initialised network hardly spikes and answers every input alike, which would let a broken server pass. Here
the normalisations' running statistics come from random input, their gains and offsets are random, and the readout is
sharpened, so that layers fire at different rates and inputs get different answers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.bundle import Bundle
from shared.bundle_writer import write_bundle, write_parts
from shared.execution import executions_of
from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec, Manifest, Normalisation
from shared.models.load import export_weights, load_cloud, load_edge
from shared.models.split import SplitNetwork
from shared.network_spec import Backbone, BottleneckSpec, InputKind, NetworkSpec, Shape


def make_bundle(
    path: Path,
    *,
    backbone: Backbone = "resnet18",
    split: str = "layer1",
    bottleneck: BottleneckSpec | None = BottleneckSpec(1, 1),  # noqa: B008  frozen
    classes: int = 10,
    input_shape: Shape = (1, 16, 16),
    timesteps: int = 4,
    width: int = 4,
    threshold: float = 0.9,
    seed: int = 0,
    input_kind: InputKind = "static",
) -> Bundle:
    """Write an untrained bundle into folder `path`; the same arguments give the same bytes.

    `threshold` is the exit policy's, on the largest confidence.
    """
    spec = NetworkSpec(
        backbone=backbone,
        input_shape=input_shape,
        classes=classes,
        split=split,
        width=width,
        timesteps=timesteps,
        input_kind=input_kind,
        bottleneck=bottleneck,
    )
    network = lively_network(spec, seed)
    channels = input_shape[0]
    manifest = Manifest(
        name=f"{backbone}-{split}-test{seed}",
        network=spec,
        frame_shape=network.edge.out_shape,
        split_shape=network.edge.head.out_shape,
        class_names=tuple(f"class{index}" for index in range(classes)),
        normalisation=Normalisation(1 / 255, (0.5,) * channels, (0.5,) * channels),
        executions={
            execution: ExecutionSpec(1.0, ExitPolicy("max_probability", threshold)) for execution in executions_of(spec)
        },
        default_execution="spiking",
        provenance={"data_set": "none", "seed": seed},
    )
    return write_bundle(path, manifest, export_weights(network.edge), export_weights(network.cloud))


def lively_network(spec: NetworkSpec, seed: int = 0) -> SplitNetwork:
    """An untrained network in inference mode whose every layer fires, with normalisations that do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SplitNetwork(spec).train()
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        with torch.no_grad():
            for norm in norms:
                norm.momentum = 1.0  # the statistics of the one pass below, not a tenth of them
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.uniform_(0.0, 0.6)
            network.cloud.readout.linear.weight.mul_(20.0)
            # A batch of one frame or a 1 x 1 map has no variance to learn from: eight of them have.
            network(random_inputs(spec, 8, seed))
            # Without this every input's largest logit is that of the same class.
            average = network.eval()(random_inputs(spec, 32, seed)).mean(dim=(0, 1))
            network.cloud.readout.linear.bias.sub_(average)
    return network.eval().requires_grad_(False)


def load_split(bundle: Bundle) -> SplitNetwork:
    """Both halves of a bundle as they are on disk (float16, rounded), in inference mode: the reference for results."""
    network = SplitNetwork(bundle.manifest.network)
    network.edge, network.cloud = load_edge(bundle), load_cloud(bundle)
    return network.eval()


def retuned(bundle: Bundle, **settings: Any) -> Bundle:
    """The bundle with other settings of its execution, written over it."""
    changed = replace(bundle.settings, **settings)
    return write_parts(bundle, bundle.manifest.with_execution(bundle.execution, changed), {})


def random_samples(spec: NetworkSpec, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse random pictures [N, C, H, W], or event counts [N, T, C, H, W]."""
    leading = (count,) if spec.input_kind == "static" else (count, spec.timesteps)
    shape = (*leading, *spec.input_shape)
    coarse = np.random.default_rng(seed).integers(0, 256, (*shape[:-2], shape[-2] // 4, shape[-1] // 4), np.uint8)
    return coarse.repeat(4, axis=-1).repeat(4, axis=-2)


def random_inputs(spec: NetworkSpec, batch: int, seed: int = 0) -> Tensor:
    """Normalised input: pictures [B, C, H, W], or event frames [T, B, C, H, W]."""
    generator = torch.Generator().manual_seed(seed)
    leading = (batch,) if spec.input_kind == "static" else (spec.timesteps, batch)
    noise = torch.randn(*leading, *spec.input_shape, generator=generator)
    # White noise alone looks the same to a network that averages over space: each input gets its own coarse pattern.
    coarse = torch.randn(batch, spec.input_shape[0], 3, 3, generator=generator)
    return 0.5 * noise + 1.5 * nn.functional.interpolate(coarse, spec.input_shape[1:], mode="bilinear")


def wire_frames(network: SplitNetwork, inputs: Tensor) -> NDArray[np.uint8]:
    """The spikes that cross the link: [T, B, C', H', W'], zeros and ones."""
    with torch.inference_mode():
        currents = network.currents(inputs)
        spikes, _ = network.edge(currents, network.edge.initial_state(currents.shape[1]))
    frames: NDArray[np.uint8] = spikes.numpy().astype(np.uint8)
    return frames


def reference_confidences(network: SplitNetwork, inputs: Tensor, temperature: float = 1.0) -> Tensor:
    """What the cloud must answer after every timestep: softmax of the mean logits so far, [T, B, classes]."""
    with torch.inference_mode():
        logits = network(inputs)
        counts = torch.arange(1, logits.shape[0] + 1).view(-1, 1, 1)
        return torch.softmax(logits.cumsum(0) / counts / temperature, dim=-1)
