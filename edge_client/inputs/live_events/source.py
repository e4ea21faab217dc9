"""Live events as samples: a thread receives and cuts, and a few windows wait for the network."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Item, Skip, Source, Unreadable
from edge_client.inputs.cuts import Cut
from edge_client.inputs.live_events.buffer import LiveWindow, WindowBuffer
from edge_client.inputs.live_events.counts import CountsAsMetrics, StreamCounts
from edge_client.inputs.live_events.feed import Feed
from edge_client.inputs.live_events.windows import LiveWindows
from edge_client.inputs.recordings import RecordingReader
from shared.errors import NeucodexError, SourceError
from shared.metrics import Metrics

TELL_EVERY_S = 1.0
"""How often the metrics are brought up to date."""

log = logging.getLogger(__name__)


class LiveEvents(Source):
    """The windows of streams of events, one stream after the other; called NAME#0, NAME#1, ...

    A window is asked for when the network has room, and not before: what waits is the newest, `window_buffer` at most.

    Args:
        feeds: of events; read in the thread that receives. An `Unreadable` is reported in its place.
        reader: bins windows into the bundle's frames.
        inputs: of the run.
        skip: as of other sources.
        counts: that the feeds write, too.
    """

    def __init__(
        self,
        feeds: Iterable[Feed | Unreadable],
        reader: RecordingReader,
        inputs: InputConfig,
        skip: Skip,
        counts: StreamCounts,
    ) -> None:
        self.count = inputs.limit
        self.read_ahead = False
        self.counts = counts
        self._feeds = feeds
        self._reader = reader
        self._inputs = inputs
        self._skip = skip
        self._buffer = WindowBuffer(inputs.event_options.window_buffer, counts)
        self._closed = threading.Event()
        self._feed: Feed | None = None
        self._metrics: CountsAsMetrics | None = None
        self._tell_at = 0.0

    def observe(self, metrics: Metrics) -> None:
        self._metrics = CountsAsMetrics(self.counts, metrics)

    def stream_counts(self) -> dict[str, int]:
        return self.counts.as_dict()

    def __iter__(self) -> Iterator[Item]:
        receiver = threading.Thread(target=self._receive, name="events", daemon=True)
        receiver.start()
        number = 0
        try:
            while (self.count is None or number < self.count) and (found := self._buffer.get()) is not None:
                if isinstance(found, Unreadable):
                    yield found
                elif not self._skip(found.name):
                    yield Sample(number, found.name, found.label, found.pixels, found.time_s, found.taken_at)
                number += 1
        finally:
            self.close()
            self._tell(at_once=True)

    def close(self) -> None:
        self._closed.set()
        if self._feed is not None:
            self._feed.close()
        self._buffer.end()

    def _receive(self) -> None:
        try:
            for feed in self._feeds:
                if isinstance(feed, Unreadable):
                    self._buffer.put(feed)
                    continue
                self._feed = feed
                self._take_all(feed)
                if self._closed.is_set():
                    break
        except NeucodexError as error:
            self._buffer.end(error)
        except Exception as error:
            log.exception("the thread that receives events has ended")
            self._buffer.end(SourceError(f"events cannot be received any more: {error!r}"))
        self._buffer.end()

    def _take_all(self, feed: Feed) -> None:
        windows: LiveWindows | None = None
        number = 0
        for batch in feed.batches():
            # Some senders say how large the sensor is, when they are there.
            if windows is None and batch is not None:
                windows = self._windows(feed)
            if windows is not None:
                for cut in windows.idle() if batch is None else windows.take(batch):
                    self._put(feed, number, cut, windows)
                    number += 1
            self._tell()
            if self._closed.is_set():
                return
        for cut in windows.finish() if windows is not None else ():
            self._put(feed, number, cut, windows)
            number += 1

    def _windows(self, feed: Feed) -> LiveWindows:
        inputs = self._inputs
        sensor = inputs.sensor or feed.sensor or (self._reader.shape[2], self._reader.shape[3])
        options = inputs.event_options
        empty = options.skip_still is not None
        return LiveWindows(feed.name, inputs.window, sensor, options, feed.time_bits, self.counts, empty=empty)

    def _put(self, feed: Feed, number: int, cut: Cut, windows: LiveWindows | None) -> None:
        assert windows is not None
        name = f"{feed.name}#{number}" if self._inputs.window is not None else feed.name
        pixels = self._reader.frames(cut, windows.sensor)
        self._buffer.put(LiveWindow(name, feed.label, pixels, cut.start_us / 1e6, time.time()))

    def _tell(self, *, at_once: bool = False) -> None:
        if self._metrics is not None and (at_once or time.monotonic() >= self._tell_at):
            self._tell_at = time.monotonic() + TELL_EVERY_S
            self._metrics.tell()
