"""The lane that an edge gets, and why it gets none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from cloud_server.rpc.handshake import choose_bundle
from cloud_server.rpc.stream_status import StreamRefused
from shared.execution import Execution
from shared.messages import Open

OURS, THEIRS, UNKNOWN = (bytes([number]) * 32 for number in (1, 2, 3))


def lanes(*keys: tuple[bytes, Execution]) -> Any:
    """Stand-ins for lanes, by key."""
    return {key: SimpleNamespace(name=f"{key[0][0]}-{key[1]}", fingerprint=key[0]) for key in keys}


def test_a_lane_is_a_bundle_in_an_execution() -> None:
    served = lanes((OURS, "spiking"), (OURS, "rate"), (THEIRS, "rate"))
    for fingerprint, execution in served:
        assert choose_bundle(Open(fingerprint, execution), served) is served[fingerprint, execution]


@pytest.mark.parametrize(
    ("served", "asked", "said"),
    [
        (
            [(OURS, "spiking"), (THEIRS, "rate")],
            "rate",
            "this bundle is served here in execution spiking, not in rate: start the edge with --execution spiking, "
            "or the cloud with --execution all",
        ),
        (
            [(OURS, "rate")],
            "spiking",
            "this bundle is served here in execution rate, not in spiking: start the edge with --execution rate, "
            "or the cloud with --execution all",
        ),
    ],
)
def test_another_execution_than_the_ones_served_is_refused_with_what_to_do(
    served: list[tuple[bytes, Execution]], asked: Execution, said: str
) -> None:
    with pytest.raises(StreamRefused) as refused:
        choose_bundle(Open(OURS, asked), lanes(*served))
    assert refused.value.reason == "execution"
    assert refused.value.status.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.status.details == said


def test_a_bundle_that_is_not_served_is_refused_with_those_that_are() -> None:
    with pytest.raises(StreamRefused) as refused:
        choose_bundle(Open(UNKNOWN, "rate"), lanes((OURS, "rate"), (THEIRS, "spiking")))
    assert refused.value.reason == "fingerprint"
    assert refused.value.status.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.status.details == (
        "no bundle with fingerprint 030303030303 is served here, only 1-rate (010101010101), 2-spiking "
        "(020202020202): give both sides the same bundle folder"
    )


def test_another_protocol_is_refused_before_anything_else() -> None:
    with pytest.raises(StreamRefused, match="protocol version 7 is not spoken here: this cloud speaks 1") as refused:
        choose_bundle(Open(UNKNOWN, "rate", protocol_version=7), lanes((OURS, "rate")))
    assert refused.value.reason == "protocol"
