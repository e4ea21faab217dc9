"""What goes wrong between an edge and a cloud: our exceptions, with a text that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from shared.errors import CloudRefused, CloudUnavailable, NeucodexError
from shared.messages import WARMING_UP
from shared.plain_text import plain

MOST_RETRY_S = 60.0
"""The longest time that a cloud can keep an edge away by asking."""

NOBODY_LISTENS = "Connection refused"
"""What gRPC's text says then, in the words of the operating system."""

_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT: "run the same version of NeuCODEX on both sides",
    grpc.StatusCode.FAILED_PRECONDITION: "start the cloud with the bundle that this edge has (--bundle), same version",
    grpc.StatusCode.UNIMPLEMENTED: "a gRPC server that is no neucodex-cloud listens there: check --cloud",
    grpc.StatusCode.UNAUTHENTICATED: "check this edge's credentials: the cloud knows no such token (--token-file)",
    grpc.StatusCode.PERMISSION_DENIED: "check this edge's credentials",
}
"""Codes that another try does not change, and what to do."""

_LOSSES = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: "it is busy: try later, or raise its limits",
    grpc.StatusCode.UNAVAILABLE: "see that it still runs and is reachable",
}


def not_there(addresses: Sequence[str], deadline_s: float) -> CloudUnavailable:
    """No cloud answered in time at any of the addresses, as the user wrote them."""
    return CloudUnavailable(
        f"no cloud at {' or '.join(addresses)} within {deadline_s:g} s: start `neucodex-cloud --listen {addresses[0]}` "
        "there, check --cloud, use TLS on both sides or on none (--insecure), or raise --deadline; "
        f"`neucodex-edge doctor --cloud {addresses[0]}` finds out which"
    )


def not_in_time(address: str, deadline_s: float) -> CloudUnavailable:
    """One try took too long."""
    return CloudUnavailable(f"no answer from {address} within {deadline_s:g} s")


def not_reached(address: str, details: str) -> CloudUnavailable:
    """One try failed: no server listens there, or it takes no streams now; `details` says so."""
    error = CloudUnavailable(f"no stream to {address} ({plain(' '.join(details.split()))})")
    error.starting = details.startswith(WARMING_UP) or NOBODY_LISTENS in details
    return error


def silent(address: str, seconds: float) -> CloudUnavailable:
    """A cloud owed an answer for too long, and there is another one."""
    return CloudUnavailable(
        f"the cloud at {address} has owed an answer for {seconds:.1f} s (--leave-after): it is stopped, frozen or "
        "overloaded"
    )


def closed() -> CloudUnavailable:
    """The edge itself was closed."""
    return CloudUnavailable("this edge was closed")


def spoke_wrongly(address: str, what: str) -> CloudRefused:
    """The cloud sent something that the protocol does not allow."""
    return CloudRefused(f"the cloud at {address} breaks the protocol ({what}): {_REFUSALS[_WRONG_VERSION]}")


def retry_after_s(trailing: Iterable[tuple[str, str | bytes]]) -> float:
    """Seconds that a server asks to be left alone: google.rpc.RetryInfo in a status's trailing metadata, else 0."""
    for key, value in trailing:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            info = RetryInfo()
            with contextlib.suppress(DecodeError):
                for detail in Status.FromString(value).details:
                    if detail.Unpack(info):
                        # Not ToTimedelta: a peer may ask for more than that can hold.
                        asked_s: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                        return min(max(0.0, asked_s), MOST_RETRY_S)
    return 0.0


def from_status(address: str, code: grpc.StatusCode, details: str) -> NeucodexError:
    """The exception for the status with which the stream ended; `details` is the server's own message, or gRPC's."""
    said = f"{code.name}: {plain(' '.join(details.split()))}" if details else code.name
    if code in _REFUSALS:
        return CloudRefused(f"the cloud at {address} refused ({said}): {_REFUSALS[code]}")
    if code is grpc.StatusCode.OK:
        return CloudUnavailable(f"the cloud at {address} ended the stream: {_LOSSES[grpc.StatusCode.UNAVAILABLE]}")
    remedy = _LOSSES.get(code, _LOSSES[grpc.StatusCode.UNAVAILABLE])
    return CloudUnavailable(f"the link to the cloud at {address} was lost ({said}): {remedy}")


_WRONG_VERSION = grpc.StatusCode.INVALID_ARGUMENT
