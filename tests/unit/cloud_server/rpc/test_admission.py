"""How many streams may be open."""

from __future__ import annotations

import pytest

from cloud_server.rpc.admission import Admission, address_of
from cloud_server.rpc.stream_status import StreamRefused


def reason(admission: Admission, peer: str) -> str | None:
    try:
        admission.enter(peer)
    except StreamRefused as refused:
        return refused.reason
    return None


def test_streams_are_counted_in_all_and_by_address() -> None:
    admission = Admission(3, 2)
    assert reason(admission, "ipv4:192.0.2.1:1") is None
    assert reason(admission, "ipv4:192.0.2.1:2") is None
    assert reason(admission, "ipv4:192.0.2.1:3") == "peer_cap"
    assert reason(admission, "ipv4:192.0.2.2:1") is None
    assert reason(admission, "ipv4:192.0.2.3:1") == "too_many"
    admission.leave("ipv4:192.0.2.1:1")
    assert reason(admission, "ipv4:192.0.2.1:4") is None
    assert admission.streams == 3
    for peer in ("ipv4:192.0.2.1:2", "ipv4:192.0.2.1:4", "ipv4:192.0.2.2:1"):
        admission.leave(peer)
    assert admission.streams == 0
    assert not admission._per_peer, "addresses that are gone are forgotten"


def test_without_a_cap_one_address_may_have_all() -> None:
    admission = Admission(100, None)
    assert {reason(admission, f"ipv4:192.0.2.1:{port}") for port in range(100)} == {None}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:40000", "ipv4:192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:40000", "ipv6:%5B2001:db8::1%5D"),
        ("unix:/run/cloud.sock", "unix:/run/cloud.sock"),
        ("unix:", "unix:"),
    ],
)
def test_a_peers_address_has_no_port(peer: str, address: str) -> None:
    assert address_of(peer) == address
