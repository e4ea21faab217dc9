"""The first message of a stream: what it must be, and the reasons for which a stream is not let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc

from cloud_server.engine.loaded_bundle import Lane, LaneKey
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


def choose_lane(opened: Open, lanes: Mapping[LaneKey, Lane]) -> Lane:
    """The lane of the bundle that an edge has.

    Args:
        opened: its Open.
        lanes: those served.

    Raises:
        Refused: another protocol version, no such bundle here, or not in this execution.
    """
    if opened.protocol_version != PROTOCOL_VERSION:
        raise Refused(
            "protocol",
            grpc.StatusCode.FAILED_PRECONDITION,
            f"protocol version {opened.protocol_version} is not spoken here: this cloud speaks {PROTOCOL_VERSION}; "
            "install the same release on both sides",
        )
    lane = lanes.get((opened.fingerprint, opened.execution))
    if lane is None:
        others = sorted(execution for fingerprint, execution in lanes if fingerprint == opened.fingerprint)
        if others:
            raise Refused(
                "execution",
                grpc.StatusCode.FAILED_PRECONDITION,
                f"this bundle is served here in execution {', '.join(others)}, not in {opened.execution}: "
                f"start the edge with --execution {others[0]}, or the cloud with --execution all",
            )
        served = ", ".join(f"{lane.name} ({lane.fingerprint.hex()[:12]})" for lane in lanes.values())
        raise Refused(
            "fingerprint",
            grpc.StatusCode.FAILED_PRECONDITION,
            f"no bundle with fingerprint {opened.fingerprint.hex()[:12]} is served here, only {served}: "
            "give both sides the same bundle folder",
        )
    return lane
