import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import co_inference_pb2 as pb
from shared.errors import WireError
from shared.execution import EXECUTIONS
from shared.messages import Frame, Open, Ready, Rejection, RejectionCode, StepResult, Stop
from shared.wire import cloud_from_wire, cloud_to_wire, edge_from_wire, edge_to_wire, message_bytes, parse

uint32 = st.integers(0, 2**32 - 1)
CLASSES = 10
confidences = st.lists(st.floats(0.0, 1.0, width=32), min_size=CLASSES, max_size=CLASSES).map(tuple)

edge_messages = st.one_of(
    st.builds(Open, st.binary(min_size=32, max_size=32), st.sampled_from(EXECUTIONS), uint32, uint32),
    st.builds(Frame, uint32, uint32, st.integers(0, 2**31 - 1), st.binary(max_size=64)),
    st.builds(Stop, uint32),
)
top = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=CLASSES, unique=True).map(tuple)
cloud_messages = st.one_of(
    st.builds(Ready, st.integers(1, 2**32 - 1), uint32),
    st.builds(Rejection, uint32, st.sampled_from(RejectionCode), st.text(), uint32),
    st.builds(StepResult, uint32, uint32, confidences, st.just(()), uint32, uint32, uint32),
    top.flatmap(
        lambda named: st.builds(
            StepResult, uint32, uint32, confidences.map(lambda c: c[: len(named)]), st.just(named), uint32, uint32
        )
    ),
)


@given(edge_messages, st.lists(st.builds(Stop, uint32), max_size=3))
def test_edge_messages_survive_the_wire_with_the_stops_before_them(
    message: Open | Frame | Stop, stops: list[Stop]
) -> None:
    data = edge_to_wire(message, stops).SerializeToString()
    assert edge_from_wire(pb.EdgeMessage.FromString(data)) == (*stops, message)


@given(cloud_messages)
def test_cloud_messages_survive_the_wire(message: Ready | StepResult | Rejection) -> None:
    data = cloud_to_wire(message).SerializeToString()
    top_k = len(message.classes) if isinstance(message, StepResult) else 0
    assert cloud_from_wire(pb.CloudMessage.FromString(data), CLASSES, top_k) == message


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_fingerprint_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(WireError, match="fingerprint"):
        edge_from_wire(pb.EdgeMessage(open=pb.Open(fingerprint=b"x" * length)))


def test_an_unknown_execution_is_refused() -> None:
    opened = pb.Open(fingerprint=bytes(32))
    raw = pb.EdgeMessage(open=opened).SerializeToString()
    assert parse(raw) == (Open(bytes(32), "spiking", 0, 0),)
    opened.execution = 2  # type: ignore[assignment]
    with pytest.raises(WireError, match=r"Open\.execution 2 is not known"):
        parse(pb.EdgeMessage(open=opened).SerializeToString())


def test_empty_messages_are_refused() -> None:
    with pytest.raises(WireError, match="without content"):
        edge_from_wire(pb.EdgeMessage())
    with pytest.raises(WireError, match="without content"):
        cloud_from_wire(pb.CloudMessage(), CLASSES)


@pytest.mark.parametrize(
    ("result", "top_k"),
    [
        (pb.StepResult(confidences=[0.1] * 9), 0),
        (pb.StepResult(confidences=[0.1] * 11), 0),
        (pb.StepResult(confidences=[0.1] * 10, classes=range(10)), 0),
        (pb.StepResult(confidences=[0.1] * 10), 2),
        (pb.StepResult(confidences=[0.1], classes=[1]), 2),
        (pb.StepResult(confidences=[0.1, 0.2], classes=[1]), 2),
        (pb.StepResult(confidences=[0.1, 0.2], classes=[1, 1]), 2),
        (pb.StepResult(confidences=[0.1], classes=[10]), 1),
        (pb.StepResult(confidences=[*[0.1] * 9, math.nan]), 0),
        (pb.StepResult(confidences=[*[0.1] * 9, 1.5]), 0),
    ],
)
def test_results_that_do_not_fit_the_bundle_and_what_was_asked_are_refused(result: pb.StepResult, top_k: int) -> None:
    with pytest.raises(WireError, match="StepResult"):
        cloud_from_wire(pb.CloudMessage(result=result), CLASSES, top_k)


def test_an_unknown_rejection_and_a_cloud_that_serves_nothing_are_refused() -> None:
    with pytest.raises(WireError, match="code 77"):
        cloud_from_wire(pb.CloudMessage(rejection=pb.Rejection(code=77)), CLASSES)  # type: ignore[arg-type]
    with pytest.raises(WireError, match="max_open_samples"):
        cloud_from_wire(pb.CloudMessage(ready=pb.Ready()), CLASSES)


def test_prediction_is_the_largest_confidence() -> None:
    assert StepResult(0, 1, (0.1, 0.7, 0.2)).prediction == 1
    assert StepResult(0, 1, (0.7, 0.2), classes=(5, 3)).prediction == 5
    assert StepResult(0, 1, (0.4, 0.4)).prediction == 0


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 300), st.binary(max_size=300))
def test_messages_are_as_long_as_they_are_said_to_be(sample: int, timestep: int, codec: int, spikes: bytes) -> None:
    frame, stop = Frame(sample, timestep, codec, spikes), Stop(sample)
    for message in (frame, stop):
        assert message_bytes(message) == edge_to_wire(message).ByteSize()
    assert message_bytes(frame) + message_bytes(stop) == edge_to_wire(frame, [stop]).ByteSize()
