"""The first message of a stream: what it must be, and the reasons for which a stream is not let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc

from cloud_server.engine.loaded_bundle import Lane
from cloud_server.rpc.outbox import End
from shared.errors import WireError
from shared.messages import PROTOCOL_VERSION, Open
from shared.wire import parse


class Refused(Exception):
    """A stream is not let in. `reason` is the metric's label."""

    def __init__(self, reason: str, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.reason = reason
        self.end = End(code, details)


async def read_open(requests: AsyncIterator[bytes], timeout: float) -> Open:
    """A stream's first message, which must come within `timeout` seconds and be Open.

    Raises:
        Refused: it did not, or is something else.
    """
    try:
        messages = parse(await asyncio.wait_for(anext(requests), timeout))
    except WireError as error:
        raise Refused("protocol", grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    except asyncio.TimeoutError:
        late = f"no Open within {timeout:g} s: send it first"
        raise Refused("protocol", grpc.StatusCode.INVALID_ARGUMENT, late) from None
    except StopAsyncIteration:
        early = "the stream ended before its Open"
        raise Refused("protocol", grpc.StatusCode.INVALID_ARGUMENT, early) from None
    match messages:
        case (Open() as opened,):
            return opened
        case _:
            raise Refused("protocol", grpc.StatusCode.INVALID_ARGUMENT, "the first message must be Open")


def choose_lane(opened: Open, lanes: Mapping[bytes, Lane]) -> Lane:
    """The lane of the bundle that an edge has.

    Args:
        opened: its Open.
        lanes: those served, by fingerprint.

    Raises:
        Refused: another protocol version, or no such bundle here.
    """
    if opened.protocol_version != PROTOCOL_VERSION:
        raise Refused(
            "protocol",
            grpc.StatusCode.FAILED_PRECONDITION,
            f"protocol version {opened.protocol_version} is not spoken here: this cloud speaks {PROTOCOL_VERSION}; "
            "install the same release on both sides",
        )
    lane = lanes.get(opened.fingerprint)
    if lane is None:
        served = ", ".join(f"{lane.name} ({lane.fingerprint.hex()[:12]})" for lane in lanes.values())
        raise Refused(
            "fingerprint",
            grpc.StatusCode.FAILED_PRECONDITION,
            f"no bundle with fingerprint {opened.fingerprint.hex()[:12]} is served here, only {served}: "
            "give both sides the same bundle folder",
        )
    return lane
