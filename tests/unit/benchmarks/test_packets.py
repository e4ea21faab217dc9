from __future__ import annotations

import os
import socket

import pytest

from benchmarks.packets import PREFACE, PacketCounter, counting
from tests.support.processes import wait_for

pytestmark = pytest.mark.skipif(
    not hasattr(socket, "AF_PACKET") or os.geteuid() != 0, reason="only root on Linux may watch packets"
)


def counted(counter: PacketCounter, name: str, value: int) -> None:
    wait_for(lambda: counter.counts[name] >= value, f"{value} {name}")
    assert counter.counts[name] == value


def test_a_datagram_is_counted_once_with_its_headers_and_its_way() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cloud,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as edge,
    ):
        cloud.bind(("127.0.0.1", 0))
        edge.bind(("127.0.0.1", 0))
        with counting(cloud.getsockname()[1]) as counter:
            edge.sendto(bytes(100), cloud.getsockname())
            cloud.sendto(bytes(30), edge.getsockname())
            counted(counter, "up bytes", 128)
            counted(counter, "down bytes", 58)
    assert (counter.counts["up packets"], counter.counts["up header bytes"]) == (1, 28)


def test_http2_frames_in_tcp_are_told_apart_also_where_a_segment_ends_within_one() -> None:
    window_update = bytes([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 9])
    data = bytes([0, 0, 20, 0, 0, 0, 0, 0, 1]) + bytes(20)
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        counting(listening.getsockname()[1]) as counter,
        socket.create_connection(listening.getsockname()) as edge,
    ):
        edge.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, _ = listening.accept()
        with there:
            edge.sendall(PREFACE + window_update + data[:5])
            counted(counter, "up WINDOW_UPDATE bytes", len(window_update))
            edge.sendall(data[5:])
            counted(counter, "up DATA bytes", len(data))
    assert counter.counts["down packets without data"] >= 1, "the handshake's answer at least"
