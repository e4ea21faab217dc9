"""Which form of the tail a device gets."""

from __future__ import annotations

import torch

from cloud_server.config import CloudConfig
from cloud_server.tails.base import Tail
from cloud_server.tails.cuda_graph import GraphTail
from cloud_server.tails.invariant import InvariantTail
from cloud_server.tails.traced import TracedTail
from shared.bundle import Bundle


def make_tail(bundle: Bundle, device: torch.device, config: CloudConfig) -> Tail:
    """The fastest tail for a device that keeps what the configuration promises.

    Raises:
        BundleError: as `Tail`.
    """
    if device.type == "cuda":
        return GraphTail(bundle, device, config.precision, min(config.max_batch, config.slots))
    form = InvariantTail if config.batch_invariant else TracedTail
    return form(bundle, device, config.precision)
