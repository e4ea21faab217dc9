"""Converts messages to protobuf and back. Only this module of shared/ uses the generated code.

Everything that comes from the network is checked here, and what does not fit raises `WireError` with the field's name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from protos import co_inference_pb2 as pb
from shared.errors import WireError
from shared.execution import Execution
from shared.messages import (
    CloudMessage,
    EdgeMessage,
    Frame,
    Open,
    Ready,
    Rejection,
    RejectionCode,
    StepResult,
    Stop,
)

FINGERPRINT_BYTES = 32

_EXECUTIONS: Mapping[Execution, pb.Execution.ValueType] = {
    "spiking": pb.EXECUTION_SPIKING,
    "rate": pb.EXECUTION_RATE,
}

FRAMING_BYTES = 14
"""The overhead of each message in bytes: 9 for HTTP/2's DATA frame, 5 for gRPC's prefix. What both add now and then
(window updates, opening the stream), and TCP/IP, is in docs/wire-format.md."""

PACKET_BYTES = 61
"""What a frame that travels by itself costs beyond its framing: 40 for TCP/IP, 21 for HTTP/2's window updates
(docs/wire-format.md)."""


def edge_to_wire(message: EdgeMessage, stops: Sequence[Stop] = ()) -> pb.EdgeMessage:
    """Convert a message that an edge sends, together with earlier Stops. Numbers beyond 32 bits raise ValueError
    (protobuf's)."""
    stopped = [stop.sample for stop in stops]
    if isinstance(message, Stop):
        return pb.EdgeMessage(stopped=[*stopped, message.sample])
    if isinstance(message, Frame):
        frame = pb.Frame(
            sample=message.sample,
            timestep=message.timestep,
            codec=pb.Codec.ValueType(message.codec),
            spikes=message.spikes,
        )
        return pb.EdgeMessage(frame=frame, stopped=stopped)
    opened = pb.Open(
        protocol_version=message.protocol_version,
        fingerprint=message.fingerprint,
        top_k=message.top_k,
        execution=_EXECUTIONS[message.execution],
    )
    return pb.EdgeMessage(open=opened, stopped=stopped)


def message_bytes(message: Frame | Stop) -> int:
    """The length of the protobuf message, without building it; a Stop counts the same alone or with a frame."""
    if isinstance(message, Stop):
        body = _varint_bytes(message.sample)
    else:
        body = sum(_number_bytes(value) for value in (message.sample, message.timestep, message.codec))
        if message.spikes:
            body += 1 + _varint_bytes(len(message.spikes)) + len(message.spikes)
    return 1 + _varint_bytes(body) + body


def _number_bytes(value: int) -> int:
    """A field with its tag; a zero is not sent."""
    return 1 + _varint_bytes(value) if value else 0


def _varint_bytes(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))


def parse(raw: bytes) -> tuple[EdgeMessage, ...]:
    """Parse an edge's bytes into checked messages, which travelled together.

    Raises:
        WireError: they are no message of this protocol.
    """
    try:
        return edge_from_wire(pb.EdgeMessage.FromString(raw))
    except DecodeError:
        raise WireError(f"{len(raw)} bytes that are no EdgeMessage") from None


def edge_from_wire(message: pb.EdgeMessage) -> tuple[EdgeMessage, ...]:
    """Convert a message that a cloud reads: all parts that travelled together, in order.

    Raises:
        WireError: nothing is set, or a field of Open has a value that no edge sends. A frame's fields are checked
            where it is decoded, so that one bad frame rejects its sample and not the stream.
    """
    stops = tuple(map(Stop, message.stopped))
    kind = message.WhichOneof("kind")
    if kind == "frame":
        frame = message.frame
        return (*stops, Frame(frame.sample, frame.timestep, int(frame.codec), frame.spikes))
    if kind == "open":
        return (*stops, _open(message.open))
    if stops:
        return stops
    raise WireError("EdgeMessage without content: one of open, frame, stopped must be set")


def _open(opened: pb.Open) -> Open:
    if len(opened.fingerprint) != FINGERPRINT_BYTES:
        raise WireError(f"Open.fingerprint has {len(opened.fingerprint)} bytes: a SHA-256 has {FINGERPRINT_BYTES}")
    execution = next((name for name, number in _EXECUTIONS.items() if number == opened.execution), None)
    if execution is None:
        raise WireError(f"Open.execution {opened.execution} is not known to this version")
    return Open(opened.fingerprint, execution, opened.top_k, opened.protocol_version)


def cloud_to_wire(message: CloudMessage) -> pb.CloudMessage:
    """Convert a message that a cloud sends."""
    if isinstance(message, StepResult):
        return pb.CloudMessage(
            result=pb.StepResult(
                sample=message.sample,
                timestep=message.timestep,
                confidences=message.confidences,
                classes=message.classes,
                queue_us=message.queue_us,
                compute_us=message.compute_us,
                batch_size=message.batch_size,
            )
        )
    if isinstance(message, Rejection):
        return pb.CloudMessage(
            rejection=pb.Rejection(
                sample=message.sample,
                code=pb.Rejection.Code.ValueType(message.code),
                reason=message.reason,
                retry_after_ms=message.retry_after_ms,
            )
        )
    return pb.CloudMessage(
        ready=pb.Ready(
            max_open_samples=message.max_open_samples,
            sample_idle_timeout_ms=message.sample_idle_timeout_ms,
        )
    )


def cloud_from_wire(message: pb.CloudMessage, classes: int, top_k: int = 0) -> CloudMessage:
    """Convert a message that an edge reads. Its bundle has `classes` classes, and its Open asked for the `top_k`.

    Raises:
        WireError: nothing is set, or a field has a value that no cloud of this bundle sends.
    """
    kind = message.WhichOneof("kind")
    if kind == "result":
        return _step_result(message.result, classes, top_k)
    if kind == "rejection":
        try:
            code = RejectionCode(message.rejection.code)
        except ValueError:
            raise WireError(f"Rejection.code {message.rejection.code} is not known to this version") from None
        return Rejection(message.rejection.sample, code, message.rejection.reason, message.rejection.retry_after_ms)
    if kind == "ready":
        if message.ready.max_open_samples < 1:
            raise WireError("Ready.max_open_samples is 0: the cloud serves nothing")
        return Ready(message.ready.max_open_samples, message.ready.sample_idle_timeout_ms)
    raise WireError("CloudMessage without content: one of ready, result, rejection must be set")


def _step_result(result: pb.StepResult, classes: int, top_k: int) -> StepResult:
    confidences = tuple(result.confidences)
    named = tuple(result.classes)
    if top_k:
        fits = len(named) == len(confidences) == len(set(named)) == min(top_k, classes) and max(named) < classes
    else:
        fits = not named and len(confidences) == classes
    if not fits:
        raise WireError(
            f"StepResult for sample {result.sample} carries {len(confidences)} confidences and {len(named)} class "
            f"numbers: they do not fit a bundle of {classes} classes and a stream of the top {top_k} (0: all)"
        )
    if not all(math.isfinite(value) and 0.0 <= value <= 1.0 for value in confidences):
        raise WireError(f"StepResult for sample {result.sample} carries a confidence outside 0..1")
    return StepResult(
        result.sample,
        result.timestep,
        confidences,
        named,
        result.queue_us,
        result.compute_us,
        result.batch_size,
    )
