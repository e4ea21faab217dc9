"""Which form of the tail a device gets."""

from __future__ import annotations

import torch

from cloud_server.config import Precision
from cloud_server.graph_tail import GraphTail
from cloud_server.tail import Tail
from cloud_server.traced_tail import TracedTail
from shared.bundle import Bundle


def make_tail(bundle: Bundle, device: torch.device, precision: Precision, max_batch: int) -> Tail:
    """The fastest tail for a device.

    Raises:
        BundleError: as `Tail`.
    """
    if device.type == "cuda":
        return GraphTail(bundle, device, precision, max_batch)
    return TracedTail(bundle, device, precision)
