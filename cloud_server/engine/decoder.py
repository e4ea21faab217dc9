"""Frames to spikes. It needs the codec's past of a sample but not its membranes, so it may run ahead of the steps.

Nothing is committed here: what a frame decodes to hangs on the frame, and a frame that is never stepped takes it along.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from cloud_server.engine.loaded_bundle import Lane
from cloud_server.engine.scheduler import Queued
from cloud_server.engine.work import Decoded, Failed, Work
from shared.errors import CodecError
from shared.messages import RejectionCode
from shared.spike_codec import Past, Spikes

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
            works: list[Work] = []
            pasts: list[Past | None] = []
            for entry in batch:
                if entry.item.decoded is not None:
                    continue
                past = _past(lane, entry, before)
                if isinstance(past, Failed):
                    entry.item.decoded = past
                else:
                    works.append(entry.item)
                    pasts.append(past)
            try:
                found = lane.codec.decode_batch([(work.frame.codec, work.frame.spikes) for work in works], pasts)
                for work, past, spikes in zip(works, pasts, found, strict=True):
                    work.decoded = _outcome(lane, work, past, spikes)
            except Exception:
                log.exception("bundle %s: %d frames cannot be decoded", lane.name, len(works))
                for work in works:
                    work.decoded = work.decoded or Failed(work, RejectionCode.INTERNAL, "the cloud failed decoding")


def _past(lane: Lane, entry: Queued[Work], before: Mapping[object, Decoded | Failed | None]) -> Past | Failed | None:
    """What the codec has to know of the frames before this one; None if it is the first."""
    work = entry.item
    timestep = work.frame.timestep
    if timestep == 1:
        return None  # what a row's former owner has left is nothing to it
    earlier = before.get(entry.sample)
    if isinstance(earlier, Decoded):
        return earlier.past
    if lane.slots.steps[work.row] == timestep - 1:
        return lane.pasts[work.row]
    return Failed(work, RejectionCode.STATE_LOST, f"no state before timestep {timestep}: start it anew")


def _outcome(lane: Lane, work: Work, past: Past | None, spikes: Spikes | CodecError) -> Decoded | Failed:
    if isinstance(spikes, CodecError):
        return Failed(work, RejectionCode.INVALID_FRAME, f"timestep {work.frame.timestep}: {spikes}")
    return Decoded(spikes, lane.codec.after(past, spikes))
