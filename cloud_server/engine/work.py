"""What goes into the engine and what comes out: plain values, so that streams and engine need not know each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.messages import Frame, RejectionCode
from shared.spike_codec import Past, Spikes


@dataclass(frozen=True, eq=False)
class Decoded:
    """A frame's spikes, and what the decoding of the sample's next one will have to know of them."""

    spikes: Spikes
    past: Past


@dataclass(eq=False)
class Work:
    """One frame and the slot that it belongs to. `token` is the submitter's own and comes back with the outcome.

    `decoded` is what came of decoding it, set once, by the engine: perhaps before its batch is taken.
    """

    token: Any
    row: int
    frame: Frame
    decoded: Decoded | Failed | None = None


@dataclass(frozen=True, eq=False)
class Answered:
    """A frame was stepped and its state is committed; `confidences` are those of all classes."""

    work: Work
    confidences: tuple[float, ...]
    queue_us: int
    compute_us: int
    batch_size: int


@dataclass(frozen=True, eq=False)
class Failed:
    """A frame was not stepped: its sample is lost, and what it had waiting is dropped."""

    work: Work
    code: RejectionCode
    reason: str


Outcome = Answered | Failed
Deliver = Callable[[Sequence[Outcome]], None]
