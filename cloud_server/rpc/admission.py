"""Who is let in: how many streams are open in all, and from each address."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import RESOURCE_EXHAUSTED
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from cloud_server.rpc.outbox import End

RETRY_S = (1.0, 2.0)
"""When a refused stream is asked to try again: spread, so that a crowd does not come back as one."""


@dataclass(frozen=True)
class Refusal:
    """Why a stream is not let in: `reason` for the metric, `end` for its edge."""

    reason: str
    end: End


class Admission:
    """Counts open streams.

    Args:
        most: streams in all.
        most_of_a_peer: streams from one address; None for as many as there may be.
    """

    def __init__(self, most: int, most_of_a_peer: int | None) -> None:
        self._most = most
        self._most_of_a_peer = most_of_a_peer
        self._open: Counter[str] = Counter()
        self.streams = 0

    def enter(self, peer: str) -> Refusal | None:
        """Let a stream in, to `leave` later; or say why not.

        Args:
            peer: as gRPC names it, such as `ipv4:192.0.2.1:40000`.
        """
        address = address_of(peer)
        if self.streams >= self._most:
            text = f"this replica has {self._most} streams open, as many as it may: go to another"
            return Refusal("too_many", _try_later(text))
        if self._most_of_a_peer is not None and self._open[address] >= self._most_of_a_peer:
            text = f"your address has {self._most_of_a_peer} streams open, as many as it may: close one first"
            return Refusal("peer_cap", _try_later(text))
        self._open[address] += 1
        self.streams += 1
        return None

    def leave(self, peer: str) -> None:
        """A stream that was let in has ended."""
        address = address_of(peer)
        self.streams -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


def address_of(peer: str) -> str:
    """A peer's address without its port: `ipv4:192.0.2.1:40000` -> `ipv4:192.0.2.1`; a Unix socket has none to lose."""
    kind, _, rest = peer.partition(":")
    return peer.rpartition(":")[0] if kind.startswith("ipv") and ":" in rest else peer


def _try_later(text: str) -> End:
    """RESOURCE_EXHAUSTED with google.rpc.RetryInfo in its details."""
    seconds = random.uniform(*RETRY_S)  # noqa: S311  no secret
    status = Status(code=RESOURCE_EXHAUSTED, message=text)
    delay = Duration()
    delay.FromMilliseconds(round(seconds * 1000))
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    return End(grpc.StatusCode.RESOURCE_EXHAUSTED, text, tuple(rpc_status.to_status(status).trailing_metadata))
