"""Loads a bundle's weights into a network in inference mode, and reads a network's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from shared.bundle import Bundle, Weights
from shared.errors import BundleError
from shared.manifest import Half
from shared.models.split import CloudNetwork, EdgeNetwork, SplitNetwork
from shared.network_spec import NetworkSpec

_Network = TypeVar("_Network", bound=nn.Module)

COUNTER = "num_batches_tracked"
"""A counter of BatchNorm that only training needs; it is left out of bundles."""


def load_edge(bundle: Bundle) -> EdgeNetwork:
    """The head and encoder of a bundle, float32, in inference mode. Reads only the head's file.

    Raises:
        BundleError: the file is missing or damaged, or does not fit the manifest's network.
    """
    return _load(EdgeNetwork, bundle, "head")


def load_cloud(bundle: Bundle) -> CloudNetwork:
    """The decoder and tail of a bundle, float32, in inference mode. Reads only the tail's file.

    Raises:
        BundleError: the file is missing or damaged, or does not fit the manifest's network.
    """
    return _load(CloudNetwork, bundle, "tail")


def load_network(bundle: Bundle) -> SplitNetwork:
    """Both halves of a bundle, float32, in inference mode.

    Raises:
        BundleError: a file is missing or damaged, or does not fit the manifest's network.
    """
    with torch.device("meta"):  # its own halves are not used
        network = SplitNetwork(bundle.manifest.network)
    network.edge, network.cloud = load_edge(bundle), load_cloud(bundle)
    return network.eval()


def export_weights(network: nn.Module) -> Weights:
    """A network's parameters and running statistics by name, as numpy arrays."""
    return {
        name: value.detach().cpu().float().numpy()
        for name, value in network.state_dict().items()
        if not name.endswith(COUNTER)
    }


def _load(build: Callable[[NetworkSpec], _Network], bundle: Bundle, half: Half) -> _Network:
    weights = {
        name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in bundle.weights(half).items()
    }
    with torch.device("meta"):  # for its shapes: a manifest that asks for more than its file holds takes no memory
        _check_fit(build(bundle.manifest.network), weights, f"bundle {bundle.path}: {half}")
    network = build(bundle.manifest.network)
    network.load_state_dict(weights, strict=False)
    return network.eval().requires_grad_(False)


def _check_fit(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    wanted = {name: value.shape for name, value in network.state_dict().items() if not name.endswith(COUNTER)}
    unlike = f"{where} does not fit its manifest's network"
    for name, shape in wanted.items():
        if name not in weights:
            raise BundleError(f"{unlike}: lacks {name}")
        if weights[name].shape != shape:
            raise BundleError(f"{unlike}: {name} is {tuple(weights[name].shape)}, it must be {tuple(shape)}")
    if unknown := [name for name in weights if name not in wanted and not name.endswith(COUNTER)]:
        raise BundleError(f"{unlike}: has unknown {unknown[0]}")
