"""The audit trail: what is in a line, and how many lines there are at most."""

from __future__ import annotations

import logging

import pytest

from cloud_server.rpc.audit import LINES_OF_ALL, LINES_OF_ONE, Audit
from cloud_server.rpc.identity import Identity
from shared.messages import Open
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics

HALL = Identity("token", "hall")


class Desk:
    def __init__(self) -> None:
        self.now = 0.0
        self.metrics = Metrics(CLOUD_METRICS)
        self.audit = Audit(self.metrics, lambda: self.now)

    def counted(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def desk(caplog: pytest.LogCaptureFixture) -> Desk:
    caplog.set_level(logging.INFO)
    return Desk()


def test_who_connected(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.audit.connected("ipv4:192.0.2.1:4", HALL, "digits", Open(b"f" * 32, "rate"), "grpc-python/1\n2")
    (record,) = caplog.records
    fields = {name: getattr(record, name) for name in ("event", "peer", "identity", "bundle", "protocol", "agent")}
    assert fields == {
        "event": "connected", "peer": "ipv4:192.0.2.1:4", "identity": "hall", "bundle": "digits", "protocol": 1,
        "agent": "grpc-python/1?2",
    }  # fmt: skip
    assert "\n" not in record.getMessage()
    assert desk.counted("neucodex_cloud_connected_total") == 1


def test_one_that_is_refused_again_and_again_leaves_a_few_lines(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for port in range(1056):
        desk.audit.refused(f"ipv4:192.0.2.1:{port}", None, "unauthenticated", "no")
    assert len(caplog.records) == LINES_OF_ONE
    assert desk.counted("neucodex_cloud_refused_streams_total", reason="unauthenticated") == 1056
    desk.audit.refused("ipv4:192.0.2.2:1", None, "unauthenticated", "no")
    assert caplog.records[-1].peer == "ipv4:192.0.2.2:1", "another one is named all the same"
    assert caplog.records[-1].left_out == 1056 - LINES_OF_ONE


def test_many_leave_a_bounded_number_of_lines(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5000):
        desk.audit.ended("ipv4:192.0.2.1:1", Identity("token", str(number)), "protocol", "no message")
        desk.now += 0.001
    assert LINES_OF_ALL <= len(caplog.records) <= LINES_OF_ALL + 4 * 5 + 1
    assert desk.counted("neucodex_cloud_ended_streams_total", reason="protocol") == 5000
    assert len(desk.audit._of_one) <= 1024


def test_who_is_limited_is_named_in_the_line_and_counted_by_kind(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.audit.limited("ipv4:192.0.2.1:4", HALL, "slots")
    assert (caplog.records[0].identity, caplog.records[0].limit) == ("hall", "slots")
    assert desk.counted("neucodex_cloud_limited_total", limit="slots", by="token") == 1
