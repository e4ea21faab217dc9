"""The head and encoder of a bundle: from a sample's frames to the spikes of one timestep after the other.

`Head` is the interface, in numpy, and `open_head` chooses what runs it: torch (`torch_head.py`) or onnxruntime
(`onnx_head.py`). Each is imported only when it is chosen, so an edge needs one of them.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_client.config import Runtime
from shared.bundle import Bundle, Normalisation
from shared.errors import ConfigError
from shared.network_spec import NetworkSpec
from shared.spike_codec import Spikes

WARM_UP = 2
"""Timesteps of an empty sample."""

Frames = NDArray[np.uint8]
"""A picture [C, H, W], or event frames [T, C, H, W]."""

log = logging.getLogger(__name__)


class HeadRun(Protocol):
    """One sample's way through the head: it alone holds the sample's membranes."""

    def step(self) -> Spikes:
        """The spikes [C', H', W'] of the next timestep, zeros and ones. At most T times."""


class Head(Protocol):
    """A loaded head: any number of samples may be on their way at once, each with its own state."""

    def start(self, frames: Frames) -> HeadRun:
        """A sample before its first timestep."""


def open_head(bundle: Bundle, runtime: Runtime = "auto", threads: int = 1) -> Head:
    """The head of a bundle, warm: its first sample does not pay for a runtime's first allocations.

    Args:
        bundle: the head's files are read, the tail's is not.
        runtime: what runs it; "auto" takes onnxruntime where it is installed and the bundle has graphs, else torch.
        threads: of the runtime's operations.

    Raises:
        BundleError: a file of the head is missing or damaged.
        ConfigError: the runtime is not installed, or the bundle has no graphs for it.
    """
    if runtime == "auto":
        runtime = "onnx" if bundle.has("head-step") and find_spec("onnxruntime") else "torch"
        if runtime == "torch" and not find_spec("torch"):
            raise ConfigError(_nothing_to_run(bundle))
    head: Head
    if runtime == "torch":
        from edge_client.torch_head import TorchHead  # noqa: PLC0415  needs torch

        head = TorchHead(bundle, threads)
    else:
        from edge_client.onnx_head import OnnxHead  # noqa: PLC0415  needs onnxruntime

        head = OnnxHead(bundle, threads, int8=runtime == "onnx-int8")
    log.info("the head runs on %s, %d thread%s", runtime, threads, "" if threads == 1 else "s")
    warm_up(head, bundle.manifest.network)
    return head


def warm_up(head: Head, spec: NetworkSpec) -> None:
    """Step a sample through `head`; not an empty one, whose embedding may be skipped."""
    run = head.start(np.ones(sample_shape(spec), np.uint8))
    for _ in range(min(WARM_UP, spec.timesteps)):
        run.step()


def sample_shape(spec: NetworkSpec) -> tuple[int, ...]:
    """The shape of the frames that `Head.start` takes."""
    return spec.input_shape if spec.input_kind == "static" else (spec.timesteps, *spec.input_shape)


def normalise(frames: Frames, normalisation: Normalisation) -> NDArray[np.float32]:
    """(pixel * scale - mean) / std for each channel, the third axis from the end; float32 of the same shape."""
    mean = np.array(normalisation.mean, np.float32)[:, np.newaxis, np.newaxis]
    std = np.array(normalisation.std, np.float32)[:, np.newaxis, np.newaxis]
    scaled = frames.astype(np.float32) * np.float32(normalisation.scale)
    return ((scaled - mean) / std).astype(np.float32, copy=False)


def _nothing_to_run(bundle: Bundle) -> str:
    if bundle.has("head-step"):
        return "the edge's head needs onnxruntime or torch: pip install '.[edge]' or '.[edge-torch]' in a checkout"
    return (
        f"bundle {bundle.path} has no graphs for onnxruntime, and torch is not installed: where there is torch run "
        f"`neucodex-train export --bundle {bundle.path} --runtime onnx` and copy the bundle anew, "
        "or pip install '.[edge-torch]' in a checkout"
    )
