"""The messages between edge and cloud, as plain values.

`shared.wire` turns them into protobuf and back. Their values are validated. Nothing here depends on gRPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from shared.execution import Execution

PROTOCOL_VERSION = 1

WARMING_UP = "warming up"
"""The beginning of the status text of a cloud that will serve soon. An edge recognises it."""


class Codec(IntEnum):
    """How a frame's spikes are encoded. The values are the wire's, where 0 takes no bytes."""

    RANGE = 0
    PACKED_BITS = 1
    SPARSE = 2
    ZSTD = 3


class RejectionCode(IntEnum):
    """Why the cloud gave up a sample; the values are the wire's."""

    INVALID_FRAME = 1
    STATE_LOST = 2
    NO_SLOT = 3
    INTERNAL = 4
    IDLE = 5


@dataclass(frozen=True)
class Open:
    """The edge's first message: its bundle and execution, and the answers it needs (`top_k` 0: all confidences)."""

    fingerprint: bytes
    execution: Execution = "spiking"
    top_k: int = 0
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Frame:
    """The spikes of one timestep (1..T) of one sample.

    `codec` says how they are encoded: a `Codec`, or a number from the network that is none, which decoding refuses.
    """

    sample: int
    timestep: int
    codec: int
    spikes: bytes


@dataclass(frozen=True)
class Stop:
    """The edge needs nothing more of this sample."""

    sample: int


@dataclass(frozen=True)
class Ready:
    """The cloud's first message: its limits for this stream."""

    max_open_samples: int
    sample_idle_timeout_ms: int


@dataclass(frozen=True)
class StepResult:
    """The cloud's answer to one frame.

    `confidences` are those of all classes in order when `classes` is empty, else those of `classes`, largest first.
    Durations are the cloud's own: the clocks of two machines are never compared.
    """

    sample: int
    timestep: int
    confidences: tuple[float, ...]
    classes: tuple[int, ...] = ()
    queue_us: int = 0
    compute_us: int = 0
    batch_size: int = 1

    @property
    def prediction(self) -> int:
        """The class of the largest confidence; the first of equals."""
        best = max(range(len(self.confidences)), key=self.confidences.__getitem__)
        return self.classes[best] if self.classes else best

    def best(self, count: int) -> tuple[tuple[int, float], ...]:
        """The `count` likeliest of the classes that it names, with their confidences, largest first."""
        classes = self.classes or range(len(self.confidences))
        ranked = sorted(zip(classes, self.confidences, strict=True), key=lambda each: each[1], reverse=True)
        return tuple(ranked[:count])


@dataclass(frozen=True)
class Rejection:
    """The cloud rejects one sample; the stream goes on."""

    sample: int
    code: RejectionCode
    reason: str
    retry_after_ms: int = 0


EdgeMessage = Open | Frame | Stop
CloudMessage = Ready | StepResult | Rejection
