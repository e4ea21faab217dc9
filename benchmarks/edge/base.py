"""What the measurements of `neucodex-bench edge` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_client.config import EdgeConfig
from edge_client.link.security import LinkSecurity
from shared.bundle import Bundle
from shared.command_line import split_address
from shared.messages import Frame, StepResult
from shared.wire import cloud_to_wire, edge_to_wire

CONNECT_S = 30.0
QUIET_CLOUD = ("--threads", 1, "--log-level", "warning")
"""Flags of the cloud beside the edge that is measured: it leaves a core free, and says nothing when all is well."""


@dataclass(frozen=True)
class Setup:
    """What all measurements run on: the bundle, what it classifies, a folder for files, and whether to be quick."""

    bundle: Path
    dataset: str
    data: Path | None
    folder: Path
    quick: bool


def edge_config(bundle: Bundle, address: str, **options: Any) -> EdgeConfig:
    """The configuration of an edge in this process, in clear over any link; `options` are of `EdgeOptions`."""
    security = LinkSecurity(insecure=True, anywhere=True)
    return EdgeConfig(bundle.path, (split_address(address),), security, connect_deadline_s=CONNECT_S, **options)


def message_sizes(bundle: Bundle) -> tuple[int, int]:
    """Bytes of a frame's message and of its answer. The frame is one of packed bits: no frame is longer."""
    spikes = bytes(-(-int(np.prod(bundle.manifest.frame_shape)) // 8))
    frame = edge_to_wire(Frame(100, 1, 0, spikes))
    count = bundle.settings.exit_policy.confidences_needed or bundle.manifest.network.classes
    answer = StepResult(100, 1, (1.0 / count,) * count, tuple(range(count)), 100, 1000, 1)
    return frame.ByteSize(), cloud_to_wire(answer).ByteSize()
