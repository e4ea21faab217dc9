"""A stream's first message: it must be Open, and name a bundle that is served here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc

from cloud_server.engine.loaded_bundle import BundleKey, LoadedBundle
from cloud_server.rpc.stream_status import StreamRefused, StreamStatus
from shared.errors import WireError
from shared.messages import PROTOCOL_VERSION, Open
from shared.wire import parse


async def read_open(requests: AsyncIterator[bytes], timeout: float) -> Open:
    """Read a stream's first message, which must be Open.

    Args:
        requests: the stream's messages.
        timeout: seconds within which it must come.

    Raises:
        StreamRefused: it did not come, or is another message.
    """
    try:
        messages = parse(await asyncio.wait_for(anext(requests), timeout))
    except WireError as error:
        raise _bad_first_message(str(error)) from None
    except asyncio.TimeoutError:
        raise _bad_first_message(f"no Open within {timeout:g} s: send it first") from None
    except StopAsyncIteration:
        raise _bad_first_message("the stream ended before its Open") from None
    match messages:
        case (Open() as opened,):
            return opened
        case _:
            raise _bad_first_message("the first message must be Open")


def choose_bundle(opened: Open, served: Mapping[BundleKey, LoadedBundle]) -> LoadedBundle:
    """The bundle that an edge asks for.

    Args:
        opened: the edge's Open.
        served: the bundles that are served.

    Raises:
        StreamRefused: the protocol version is another, or the bundle is not served, or not in this execution.
    """
    if opened.protocol_version != PROTOCOL_VERSION:
        raise _failed_precondition(
            "protocol",
            f"protocol version {opened.protocol_version} is not spoken here: this cloud speaks {PROTOCOL_VERSION}; "
            "install the same release on both sides",
        )
    loaded = served.get((opened.fingerprint, opened.execution))
    if loaded is None:
        others = sorted(execution for fingerprint, execution in served if fingerprint == opened.fingerprint)
        if others:
            raise _failed_precondition(
                "execution",
                f"this bundle is served here in execution {', '.join(others)}, not in {opened.execution}: "
                f"start the edge with --execution {others[0]}, or the cloud with --execution all",
            )
        names = ", ".join(f"{each.name} ({each.fingerprint.hex()[:12]})" for each in served.values())
        raise _failed_precondition(
            "fingerprint",
            f"no bundle with fingerprint {opened.fingerprint.hex()[:12]} is served here, only {names}: "
            "give both sides the same bundle folder",
        )
    return loaded


def _bad_first_message(details: str) -> StreamRefused:
    return StreamRefused("protocol", StreamStatus(grpc.StatusCode.INVALID_ARGUMENT, details))


def _failed_precondition(reason: str, details: str) -> StreamRefused:
    return StreamRefused(reason, StreamStatus(grpc.StatusCode.FAILED_PRECONDITION, details))
