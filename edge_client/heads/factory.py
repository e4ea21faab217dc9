"""Chooses the runtime of a bundle's head and encoder: torch (`torch_head.py`) or onnxruntime (`onnx_head.py`).

Each is imported only when it is chosen, so an edge needs one of them.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec

import numpy as np

from edge_client.heads.base import Head
from edge_client.heads.runtime import Runtime
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError, NeucodexError
from shared.network_spec import NetworkSpec
from shared.spike_codec import Spikes

WARM_UP = 2
"""Timesteps of an empty sample."""

log = logging.getLogger(__name__)


def open_head(bundle: Bundle, runtime: Runtime = "auto", threads: int = 1) -> Head:
    """Load the head of a bundle and run it once, so that the first sample does not pay for a runtime's first
    allocations.

    Args:
        bundle: the head's files are read, the tail's is not.
        runtime: the library that runs it; "auto" takes onnxruntime where it is installed and the bundle has graphs,
            else torch.
        threads: of the runtime's operations.

    Raises:
        BundleError: a file of the head is missing or damaged, or does not fit the manifest.
        ConfigError: the runtime is not installed, or the bundle has no graphs for it.
    """
    runtime = choose_runtime(bundle, runtime)
    open_one = _open_rate if bundle.execution == "rate" else _open_spiking
    try:
        head = open_one(bundle, runtime, threads)
        log.info("the %s head runs on %s, %d thread%s", bundle.execution, runtime, threads, "" if threads == 1 else "s")
        spikes = warm_up(head, bundle.manifest.network)
    except NeucodexError:
        raise
    except Exception as error:  # a runtime raises any exception for a graph that does not fit
        raise BundleError(f"bundle {bundle.path}: its head does not run ({type(error).__name__}: {error})") from None
    if spikes.shape != bundle.manifest.frame_shape:
        raise BundleError(
            f"bundle {bundle.path}: its head gives frames of {spikes.shape}, the manifest says "
            f"{bundle.manifest.frame_shape}; copy the bundle again"
        )
    return head


def warm_up(head: Head, spec: NetworkSpec) -> Spikes:
    """Step a sample through `head`, and return its last spikes.

    The sample is not empty, since the embedding of an empty one may be skipped.
    """
    run = head.start(np.ones(spec.sample_shape, np.uint8))
    return [run.step() for _ in range(min(WARM_UP, spec.timesteps))][-1]


def choose_runtime(bundle: Bundle, asked: Runtime) -> Runtime:
    """The runtime to use. "auto" is onnxruntime if it is installed and the bundle has graphs, else torch.

    In `rate` the integer graph comes first: it is in a bundle only if it is as accurate, and it is faster.

    Raises:
        ConfigError: there is nothing to run it.
    """
    if asked != "auto":
        return asked
    rate = bundle.execution == "rate"
    if find_spec("onnxruntime"):
        if rate and bundle.has("head-rate-int8"):
            return "onnx-int8"
        if bundle.has("head-rate" if rate else "head-step"):
            return "onnx"
    if not find_spec("torch"):
        raise ConfigError(_nothing_to_run(bundle))
    return "torch"


def _open_spiking(bundle: Bundle, runtime: Runtime, threads: int) -> Head:
    if runtime == "torch":
        from edge_client.heads.torch_head import TorchHead  # noqa: PLC0415  needs torch

        return TorchHead(bundle, threads)
    from edge_client.heads.onnx_head import OnnxHead  # noqa: PLC0415  needs onnxruntime

    return OnnxHead(bundle, threads, int8=runtime == "onnx-int8")


def _open_rate(bundle: Bundle, runtime: Runtime, threads: int) -> Head:
    if runtime == "torch":
        from edge_client.heads.torch_head import open_torch_rate_head  # noqa: PLC0415  needs torch

        return open_torch_rate_head(bundle, threads)
    from edge_client.heads.onnx_head import open_onnx_rate_head  # noqa: PLC0415  needs onnxruntime

    return open_onnx_rate_head(bundle, threads, int8=runtime == "onnx-int8")


def _nothing_to_run(bundle: Bundle) -> str:
    if bundle.has("head-rate" if bundle.execution == "rate" else "head-step"):
        return "the edge's head needs onnxruntime or torch: pip install '.[edge]' or '.[edge-torch]' in a checkout"
    return (
        f"bundle {bundle.path} has no graphs for onnxruntime, and torch is not installed: where there is torch run "
        f"`neucodex-train export --bundle {bundle.path} --runtime onnx` and copy the bundle again, "
        "or pip install '.[edge-torch]' in a checkout"
    )
