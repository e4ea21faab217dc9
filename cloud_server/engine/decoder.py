"""Decodes frames to spikes. It needs the codec's context of a sample but not its membranes, so it can run ahead.

It commits nothing: the result is stored in the request, and is discarded with a request that is never stepped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence

from cloud_server.engine.loaded_bundle import LoadedBundle
from cloud_server.engine.requests import Failed, StepRequest
from cloud_server.engine.scheduler import Queued
from cloud_server.tails.base import DecodedFrame
from shared.errors import CodecError
from shared.messages import RejectionCode
from shared.spike_codec import CodecContext, Spikes

log = logging.getLogger(__name__)

FrameBatch = Sequence[Queued[StepRequest]]


class Decoder:
    """Decodes each frame once. Any thread may call it; a lock lets in one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def decode(self, loaded: LoadedBundle, batch: FrameBatch, running: FrameBatch = ()) -> float:
        """Set `decoded` of every request in `batch` that has none yet.

        Args:
            loaded: the bundle of the frames.
            batch: frames of distinct samples.
            running: decoded frames of the batch that runs. Some frames of `batch` may follow them, and they are not
                committed yet.

        Returns:
            The seconds that it took.
        """
        began = time.perf_counter()
        with self._lock:
            earlier = {entry.sample: entry.item.decoded for entry in running}
            requests: list[StepRequest] = []
            contexts: list[CodecContext | None] = []
            for entry in batch:
                if entry.item.decoded is not None:
                    continue
                context = _find_context(loaded, entry, earlier)
                if isinstance(context, Failed):
                    entry.item.decoded = context
                else:
                    requests.append(entry.item)
                    contexts.append(context)
            try:
                frames = [(request.frame.codec, request.frame.spikes) for request in requests]
                decoded = loaded.codec.decode_batch(frames, contexts)
                for request, context, spikes in zip(requests, contexts, decoded, strict=True):
                    request.decoded = _result(request, context, spikes)
            except Exception:
                log.exception("bundle %s: %d frames cannot be decoded", loaded.name, len(requests))
                for request in requests:
                    request.decoded = request.decoded or Failed(
                        request, RejectionCode.INTERNAL, "the cloud failed decoding"
                    )
        return time.perf_counter() - began


def _find_context(
    loaded: LoadedBundle, entry: Queued[StepRequest], earlier: Mapping[object, DecodedFrame | Failed | None]
) -> CodecContext | Failed | None:
    """The codec's context of a frame; None for a sample's first frame."""
    request = entry.item
    timestep = request.frame.timestep
    if timestep == 1:
        return None  # the row may still have the last frame of its former owner
    before = earlier.get(entry.sample)
    if not isinstance(before, DecodedFrame):
        before = loaded.slots.last_frames[request.row]
    if before is None or before.timestep != timestep - 1:
        return Failed(request, RejectionCode.STATE_LOST, f"no state before timestep {timestep}: start it again")
    # Not before it is needed: most samples stop before their last timestep.
    return loaded.codec.next_context(before.context, before.spikes)


def _result(request: StepRequest, context: CodecContext | None, spikes: Spikes | CodecError) -> DecodedFrame | Failed:
    timestep = request.frame.timestep
    if isinstance(spikes, CodecError):
        return Failed(request, RejectionCode.INVALID_FRAME, f"timestep {timestep}: {spikes}")
    return DecodedFrame(timestep, spikes, context)
