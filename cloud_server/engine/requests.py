"""Requests and outcomes of the engine: plain values, so that streams and engine do not depend on each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_server.tails.base import DecodedFrame
from shared.messages import Frame, RejectionCode


@dataclass(eq=False)
class StepRequest:
    """One frame to step.

    Attributes:
        token: the submitter's own value; it comes back with the outcome.
        row: the slot of the frame's sample.
        frame: as it was received.
        decoded: what decoding returned. The engine sets it once, sometimes before the frame's batch is composed.
    """

    token: Any
    row: int
    frame: Frame
    decoded: DecodedFrame | Failed | None = None


@dataclass(frozen=True, eq=False)
class Answered:
    """A frame was stepped, and its state is committed.

    Attributes:
        request: what was submitted.
        confidences: of all classes.
        queue_us: microseconds from `submit` until the batch was composed.
        compute_us: microseconds that the batch took.
        batch_size: samples that were stepped together.
    """

    request: StepRequest
    confidences: tuple[float, ...]
    queue_us: int
    compute_us: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class Failed:
    """A frame was not stepped: its sample is lost, and the engine drops the sample's waiting frames."""

    request: StepRequest
    code: RejectionCode
    reason: str


Outcome = Answered | Failed
Deliver = Callable[[Sequence[Outcome]], object]
