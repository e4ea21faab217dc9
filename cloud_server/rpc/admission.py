"""Limits how many streams are open, in all and from each address."""

from __future__ import annotations

import random
from collections import Counter

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import RESOURCE_EXHAUSTED
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from cloud_server.rpc.stream_status import StreamRefused, StreamStatus

RETRY_S = (1.0, 2.0)
"""Range of the delay after which a refused stream may try again. Random, so that many edges do not return at once."""


class Admission:
    """Counts open streams.

    Args:
        max_streams: streams in all.
        max_per_peer: streams from one address; None for no such limit.
    """

    def __init__(self, max_streams: int, max_per_peer: int | None) -> None:
        self._max_streams = max_streams
        self._max_per_peer = max_per_peer
        self._per_peer: Counter[str] = Counter()
        self.streams = 0

    def enter(self, peer: str) -> None:
        """Count a new stream. Call `leave` when it ends.

        Args:
            peer: as gRPC names it, such as `ipv4:192.0.2.1:40000`.

        Raises:
            StreamRefused: a limit is reached; nothing was counted.
        """
        address = address_of(peer)
        if self.streams >= self._max_streams:
            text = f"this replica has {self._max_streams} streams open, as many as it may: go to another"
            raise StreamRefused("too_many", _retry_later(text))
        if self._max_per_peer is not None and self._per_peer[address] >= self._max_per_peer:
            text = f"your address has {self._max_per_peer} streams open, as many as it may: close one first"
            raise StreamRefused("peer_cap", _retry_later(text))
        self._per_peer[address] += 1
        self.streams += 1

    def leave(self, peer: str) -> None:
        """Count the end of a stream that had entered."""
        address = address_of(peer)
        self.streams -= 1
        self._per_peer[address] -= 1
        if not self._per_peer[address]:
            del self._per_peer[address]


def address_of(peer: str) -> str:
    """A peer's address without its port: `ipv4:192.0.2.1:40000` -> `ipv4:192.0.2.1`. Unix sockets have no port."""
    kind, _, rest = peer.partition(":")
    return peer.rpartition(":")[0] if kind.startswith("ipv") and ":" in rest else peer


def _retry_later(text: str) -> StreamStatus:
    """RESOURCE_EXHAUSTED with google.rpc.RetryInfo in its details."""
    seconds = random.uniform(*RETRY_S)  # noqa: S311  no secret
    status = Status(code=RESOURCE_EXHAUSTED, message=text)
    delay = Duration()
    delay.FromMilliseconds(round(seconds * 1000))
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    metadata = tuple(rpc_status.to_status(status).trailing_metadata)
    return StreamStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, text, metadata)
