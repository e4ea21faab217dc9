"""How a stream ends, and the exception for a stream that is refused when it opens."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from shared import messages


@dataclass(frozen=True)
class StreamStatus:
    """The status with which a stream ends.

    Attributes:
        code: OK, or the code with which the stream is aborted.
        details: a text for people.
        metadata: trailing metadata for machines.
    """

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    metadata: tuple[tuple[str, str | bytes], ...] = ()


WARMING_UP = StreamStatus(
    grpc.StatusCode.UNAVAILABLE, f"{messages.WARMING_UP}: try again soon, or go to another replica"
)
DRAINING = StreamStatus(grpc.StatusCode.UNAVAILABLE, "draining: go to another replica")
RETIRED = StreamStatus(
    grpc.StatusCode.FAILED_PRECONDITION, "this bundle is no longer served here: give the edge its successor"
)
IDLE = StreamStatus(
    grpc.StatusCode.UNAVAILABLE, "streams are scarce here and this one had no sample for long: open another when needed"
)
UNKNOWN_TOKEN = StreamStatus(
    grpc.StatusCode.UNAUTHENTICATED, "no token that is known here: see --token-file on both sides"
)


class StreamRefused(Exception):
    """A stream is refused.

    Attributes:
        reason: label of the metric `neucodex_cloud_refused_streams_total`.
        status: what the edge receives.
    """

    def __init__(self, reason: str, status: StreamStatus) -> None:
        super().__init__(status.details)
        self.reason = reason
        self.status = status
