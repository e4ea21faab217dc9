"""How many streams may be open."""

from __future__ import annotations

import pytest

from cloud_server.rpc.admission import Admission
from cloud_server.rpc.identity import Identity, address_of
from cloud_server.rpc.stream_status import StreamRefused


def reason(admission: Admission, name: str, address: str = "192.0.2.1") -> str | None:
    try:
        admission.enter(Identity("token", name), address)
    except StreamRefused as refused:
        return refused.reason
    return None


def test_streams_are_counted_in_all_and_by_address() -> None:
    admission = Admission(3, 2)
    assert reason(admission, "a") is None
    assert reason(admission, "b") is None
    assert reason(admission, "c") == "peer_cap"
    assert reason(admission, "c", "192.0.2.2") is None
    assert reason(admission, "d", "192.0.2.3") == "too_many"
    admission.leave(Identity("token", "a"), "192.0.2.1")
    assert reason(admission, "a") is None
    assert admission.streams == 3
    for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.1"), ("c", "192.0.2.2")):
        admission.leave(Identity("token", name), address)
    assert admission.streams == 0
    assert not admission._per_peer, "addresses that are gone are forgotten"
    assert not admission._shares._held, "and so are identities"


def test_one_identity_leaves_streams_for_others() -> None:
    admission = Admission(90, None)
    assert [reason(admission, "greedy") for _ in range(82)] == [None] * 80 + ["share"] * 2
    assert reason(admission, "honest") is None
    assert admission.excess == 36


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.1:40000", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:40000", "2001:db8::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:40000", "fe80::/64"),
        ("ipv6:%5B::ffff:192.0.2.1%5D:40000", "192.0.2.1"),
        ("ipv6:%5B::1%5D:40000", "::1"),
        ("unix:/run/cloud.sock", "unix:/run/cloud.sock"),
        ("unix:", "unix:"),
    ],
)
def test_a_peers_address_has_no_port(peer: str, address: str) -> None:
    assert address_of(peer) == address
