"""Chooses a bundle's tail. A tail is imported only when it is chosen, so that a CPU needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from cloud_server.config import CloudConfig, TailRuntime
from cloud_server.tails.base import Tail
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.execution import Execution
from shared.manifest import Extra

log = logging.getLogger(__name__)

GRAPHS: Mapping[Execution, Sequence[tuple[Extra, TailRuntime]]] = {
    "rate": (("tail-rate-int8", "onnx-int8"), ("tail-rate", "onnx")),
    "spiking": (("tail-step", "onnx"),),
}
"""What onnxruntime can run, best first."""


def make_tail(bundle: Bundle, config: CloudConfig) -> Tail:
    """Load the fastest tail for the bundle's execution and the device that keeps what the configuration promises.

    Raises:
        BundleError: a file of the tail is missing, damaged or does not fit the manifest.
        ConfigError: the library or the device that would run it is not there.
    """
    runtime = choose_runtime(bundle, config)
    log.info("bundle %s: the %s tail runs on %s", bundle.manifest.name, bundle.execution, runtime)
    if bundle.execution == "spiking":
        return _spiking_on_torch(bundle, config) if runtime == "torch" else _spiking_on_onnxruntime(bundle)
    if runtime == "torch":
        return _rate_on_torch(bundle, config)
    from cloud_server.tails.rate import RateTail  # noqa: PLC0415
    from cloud_server.tails.rate_onnx import OnnxRateNetwork  # noqa: PLC0415  needs onnxruntime

    part: Extra = "tail-rate-int8" if runtime == "onnx-int8" else "tail-rate"
    return RateTail(bundle, OnnxRateNetwork(bundle, part))


def choose_runtime(bundle: Bundle, config: CloudConfig) -> TailRuntime:
    """The library that runs the tail: on a CPU onnxruntime if the bundle has a graph (integers first), else torch.

    Raises:
        ConfigError: neither is possible, or --runtime names one that has no tail for this execution.
    """
    spiking = bundle.execution == "spiking"
    if spiking and config.runtime == "onnx-int8":
        raise ConfigError("--runtime onnx-int8 has no tail for execution spiking: leave it at auto, or say onnx")
    if config.runtime == "torch" or config.device == "cuda":
        return _torch(bundle)
    if config.precision != "fp32" and spiking:
        if config.runtime == "onnx":
            raise ConfigError(f"--precision {config.precision} needs torch: leave --runtime at auto, or precision fp32")
        return _torch(bundle)
    if config.runtime != "auto":
        return config.runtime
    if find_spec("onnxruntime"):
        for part, runtime in GRAPHS[bundle.execution]:
            if bundle.has(part):
                return runtime
    return _torch(bundle)


def _torch(bundle: Bundle) -> TailRuntime:
    if not find_spec("torch"):
        raise ConfigError(
            f"bundle {bundle.path}: execution {bundle.execution} needs torch here: pip install '.[cloud-torch]' in a "
            "checkout, or serve a bundle with a graph for onnxruntime on a CPU"
        )
    return "torch"


def _spiking_on_onnxruntime(bundle: Bundle) -> Tail:
    from cloud_server.tails.spiking_onnx import OnnxSpikingTail  # noqa: PLC0415  needs onnxruntime

    return OnnxSpikingTail(bundle)


def _spiking_on_torch(bundle: Bundle, config: CloudConfig) -> Tail:
    from cloud_server.tails.torch_device import torch_device  # noqa: PLC0415  needs torch

    device = torch_device(config.device)
    if device.type == "cuda":
        from cloud_server.tails.cuda_graph import CudaGraphTail  # noqa: PLC0415

        return CudaGraphTail(bundle, device, config.precision, min(config.max_batch, config.slots))
    from cloud_server.tails.invariant import InvariantTail  # noqa: PLC0415
    from cloud_server.tails.spiking import SpikingTail  # noqa: PLC0415

    form = InvariantTail if config.batch_invariant else SpikingTail
    return form(bundle, device, config.precision)


def _rate_on_torch(bundle: Bundle, config: CloudConfig) -> Tail:
    from cloud_server.tails.rate import RateTail  # noqa: PLC0415
    from cloud_server.tails.rate_torch import TorchRateNetwork  # noqa: PLC0415  needs torch
    from cloud_server.tails.torch_device import torch_device  # noqa: PLC0415

    device = torch_device(config.device)
    network = TorchRateNetwork(bundle, device, config.precision, batch_invariant=config.batch_invariant)
    return RateTail(bundle, network)
