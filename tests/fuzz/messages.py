"""What fuzzing feeds to the parsers of messages, on both sides: tests/unit a little, `make fuzz` for minutes."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from edge_client.link.errors import MOST_RETRY_S, retry_after_s
from protos import co_inference_pb2 as pb
from shared.errors import WireError
from shared.exit_policy import ExitPolicy
from shared.messages import Frame, Open, Ready, Rejection, RejectionCode, StepResult, Stop
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics
from shared.plain_text import plain
from shared.wire import cloud_from_wire, cloud_to_wire, edge_to_wire, parse
from tests.support.desk import Desk

CLASSES = 3
METRICS = Metrics(CLOUD_METRICS, {"bundle": ("b",)})
POLICIES = (ExitPolicy(), ExitPolicy("margin", 0.5), ExitPolicy("entropy", 0.5), ExitPolicy(threshold="never"))
SIDES = ("edge", "cloud", "status")
"""Who reads the bytes: an edge a cloud's message, a cloud a stream of an edge's, an edge the status of a stream."""


def seeds() -> dict[str, list[bytes]]:
    """Sound messages, by the side that reads them."""
    third = (0.5, 0.25, 0.25)
    from_cloud = (
        Ready(8, 60_000),
        StepResult(1, 1, third),
        StepResult(1, 2, (0.75, 0.25), (2, 0), 9, 9, 4),
        Rejection(1, RejectionCode.NO_SLOT, "full", 50),
    )
    from_edge = (Open(bytes(32), "rate", 2), Frame(1, 1, 1, b"\x0f" * 8), Frame(1, 2, 0, b""), Stop(1))
    status = Status(code=8, message="full")
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=1, nanos=5)))
    streams = [framed(*(edge_to_wire(message).SerializeToString() for message in from_edge))]
    streams += [framed(edge_to_wire(from_edge[1], [Stop(7), Stop(8)]).SerializeToString())]
    return {
        "edge": [cloud_to_wire(message).SerializeToString() for message in from_cloud],
        "cloud": streams,
        "status": [status.SerializeToString()],
    }


def framed(*messages: bytes) -> bytes:
    """Several messages as one input: each behind a byte with its length."""
    return b"".join(bytes([len(message)]) + message for message in messages)


def try_message(side: str, raw: bytes) -> bool:
    """Let one side read these bytes: whether it takes them. Anything but a refusal is a finding."""
    return {"edge": _edge_reads, "cloud": _cloud_reads, "status": _edge_reads_status}[side](raw)


def _edge_reads(raw: bytes) -> bool:
    try:
        message = pb.CloudMessage.FromString(raw)
    except DecodeError:  # gRPC's: the edge gets None
        return False
    taken = False
    for top_k in (0, 1, 2, CLASSES, CLASSES + 1):
        try:
            found = cloud_from_wire(message, CLASSES, top_k)
        except WireError:
            continue
        taken = True
        if isinstance(found, StepResult):
            assert 0 <= found.prediction < CLASSES
            assert found.best(top_k or CLASSES)[0][0] == found.prediction
            for policy in POLICIES:
                if policy.confidences_asked(1) in (0, top_k) and len(found.confidences) > 1:
                    policy.should_stop(found.confidences)
        elif isinstance(found, Rejection):
            assert plain(found.reason).isprintable()
    return taken


def _cloud_reads(raw: bytes) -> bool:
    """A whole stream, with its samples: no slot is lost, and none given back twice (the desk's slots look)."""
    desk, at, taken = Desk(top_k=2, metrics=METRICS), 0, False
    while at < len(raw):
        length = raw[at]
        try:
            messages = parse(raw[at + 1 : at + 1 + length])
        except WireError:
            break
        at += 1 + length
        taken = True
        for message in messages:
            if isinstance(message, Frame):
                desk.session.handle_frame(message)
            elif isinstance(message, Stop):
                desk.session.handle_stop(message)
        if length % 2 and desk.engine.queue:
            desk.answer()
        for answer in desk.sent:
            cloud_to_wire(answer).SerializeToString()
        assert desk.slots.in_use == desk.session.open_samples
    return taken


def _edge_reads_status(raw: bytes) -> bool:
    asked = retry_after_s([("grpc-status-details-bin", raw)])
    assert 0.0 <= asked <= MOST_RETRY_S
    return asked > 0
