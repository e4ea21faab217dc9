"""Frames to spikes. It needs the codec's past of a sample but not its membranes, so it may run ahead of the steps.

Nothing is committed here: what a frame decodes to hangs on the frame, and a frame that is never stepped takes it along.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from cloud_server.lane import Lane
from cloud_server.scheduler import Queued
from cloud_server.work import Decoded, Failed, Work
from shared.errors import CodecError
from shared.messages import RejectionCode

log = logging.getLogger(__name__)

Batch = Sequence[Queued[Work]]


class Decoder:
    """Decodes each frame once, whichever thread asks first. May be called from any thread; one works at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def decode(self, lane: Lane, batch: Batch, running: Batch = ()) -> None:
        """Set `decoded` of every frame in `batch` that has none yet.

        Args:
            lane: whose frames they are.
            batch: frames of distinct samples.
            running: decoded frames under way, which come before some of `batch` and are not committed yet.
        """
        with self._lock:
            before = {entry.sample: entry.item.decoded for entry in running}
            for entry in batch:
                if entry.item.decoded is None:
                    entry.item.decoded = _decode(lane, entry, before)


def _decode(lane: Lane, entry: Queued[Work], before: Mapping[object, Decoded | Failed | None]) -> Decoded | Failed:
    work = entry.item
    frame = work.frame
    past = None  # what a row's former owner has left is nothing to a first frame
    if frame.timestep > 1:
        earlier = before.get(entry.sample)
        if isinstance(earlier, Decoded):
            past = earlier.past
        elif lane.slots.steps[work.row] == frame.timestep - 1:
            past = lane.pasts[work.row]
        else:
            reason = f"no state before timestep {frame.timestep}: start it anew"
            return Failed(work, RejectionCode.STATE_LOST, reason)
    try:
        spikes = lane.codec.decode(frame.codec, frame.spikes, past)
        return Decoded(spikes, lane.codec.after(past, spikes))
    except CodecError as error:
        return Failed(work, RejectionCode.INVALID_FRAME, f"timestep {frame.timestep}: {error}")
    except Exception:
        log.exception("bundle %s: sample %d, timestep %d cannot be decoded", lane.name, frame.sample, frame.timestep)
        return Failed(work, RejectionCode.INTERNAL, "the cloud failed decoding")
