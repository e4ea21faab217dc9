"""Loads a bundle's weights into a network in inference mode, and reads a network's weights."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import nn

from shared.bundle import Bundle, Weights
from shared.errors import BundleError
from shared.manifest import Half
from shared.models.split import CloudNetwork, EdgeNetwork, SplitNetwork

_Network = TypeVar("_Network", bound=nn.Module)

COUNTER = "num_batches_tracked"
"""A counter of BatchNorm that only training needs; it is left out of bundles."""


def load_edge(bundle: Bundle) -> EdgeNetwork:
    """The head and encoder of a bundle, float32, in inference mode. Reads only the head's file.

    Raises:
        BundleError: the file is missing or damaged, or does not fit the manifest's network.
    """
    return _load(EdgeNetwork(bundle.manifest.network), bundle, "head")


def load_cloud(bundle: Bundle) -> CloudNetwork:
    """The decoder and tail of a bundle, float32, in inference mode. Reads only the tail's file.

    Raises:
        BundleError: the file is missing or damaged, or does not fit the manifest's network.
    """
    return _load(CloudNetwork(bundle.manifest.network), bundle, "tail")


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


def _load(network: _Network, bundle: Bundle, half: Half) -> _Network:
    weights = {
        name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in bundle.weights(half).items()
    }
    try:
        found = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise BundleError(f"bundle {bundle.path}: {half} does not fit its manifest's network: {error}") from None
    missing = [name for name in found.missing_keys if not name.endswith(COUNTER)]
    if missing or found.unexpected_keys:
        wrong = (missing or found.unexpected_keys)[0]
        raise BundleError(
            f"bundle {bundle.path}: {half} does not fit its manifest's network: "
            f"{'lacks' if missing else 'has unknown'} {wrong}"
        )
    return network.eval().requires_grad_(False)
