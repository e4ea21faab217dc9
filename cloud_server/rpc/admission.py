"""Limits how many streams are open: in all, of each identity, and from each address."""

from __future__ import annotations

import random
from collections import Counter

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import RESOURCE_EXHAUSTED
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from cloud_server.rpc.identity import Identity
from cloud_server.rpc.stream_status import StreamRefused, StreamStatus
from cloud_server.shares import Shares

RETRY_S = (1.0, 2.0)
"""Range of the delay after which a refused stream may try again. Random, so that many edges do not return at once."""


class Admission:
    """Counts open streams.

    Args:
        max_streams: streams in all. What one identity may have of them depends on what is free; see `Shares`.
        max_per_peer: streams from one address; None for no such limit.
    """

    def __init__(self, max_streams: int, max_per_peer: int | None) -> None:
        self._max_per_peer = max_per_peer
        self._per_peer: Counter[str] = Counter()
        self._shares = Shares(max_streams)

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._shares.in_use

    @property
    def excess(self) -> int:
        """How many streams are open beyond half of all. While it is above 0, streams are scarce."""
        return max(0, self._shares.in_use - self._shares.places // 2)

    def enter(self, identity: Identity, address: str) -> None:
        """Count a new stream. Call `leave` when it ends.

        Args:
            identity: whose it is.
            address: where it comes from, without a port.

        Raises:
            StreamRefused: a limit is reached; nothing was counted.
        """
        places, held = self._shares.places, self._shares.held(identity)
        if self._shares.in_use >= places:
            raise StreamRefused(
                "too_many", retry_later(f"this replica has {places} streams open, as many as it may: go to another")
            )
        if not self._shares.has_room(identity):
            text = f"{identity} has {held} streams open, its share: close one first, or go to another replica"
            raise StreamRefused("share", retry_later(text))
        if self._max_per_peer is not None and self._per_peer[address] >= self._max_per_peer:
            text = f"your address has {self._max_per_peer} streams open, as many as it may: close one first"
            raise StreamRefused("peer_cap", retry_later(text))
        self._per_peer[address] += 1
        self._shares.take(identity)

    def leave(self, identity: Identity, address: str) -> None:
        """Count the end of a stream that had entered."""
        self._shares.give_back(identity)
        self._per_peer[address] -= 1
        if not self._per_peer[address]:
            del self._per_peer[address]


def retry_later(text: str) -> StreamStatus:
    """RESOURCE_EXHAUSTED with google.rpc.RetryInfo in its details."""
    seconds = random.uniform(*RETRY_S)  # noqa: S311  no secret
    status = Status(code=RESOURCE_EXHAUSTED, message=text)
    delay = Duration()
    delay.FromMilliseconds(round(seconds * 1000))
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    metadata = tuple(rpc_status.to_status(status).trailing_metadata)
    return StreamStatus(grpc.StatusCode.RESOURCE_EXHAUSTED, text, metadata)
