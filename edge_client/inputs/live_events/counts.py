"""What happened to live events on their way to samples, counted; and the same as metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from shared.metrics import Metrics


@dataclass
class StreamCounts:
    """Of one stream. One thread writes them; others read them, and may see them a moment apart.

    Attributes:
        packets: datagrams, or pieces of a byte stream, that were read.
        malformed: of them: no whole number of events, or bits that contradict the form.
        dropped_packets: the system had no room for, as far as it says so (Linux, UDP).
        events: that were read.
        outside: of them: beyond the sensor.
        cropped: of them: beyond --region.
        denoised: of them: left out by --denoise.
        reordered: of them: older than one before them, and put in their place.
        late: of them: older than what had been cut already, and left out.
        clock_sets: how often the sender's clock was set, which its times do not follow.
        windows: that were cut.
        dropped_windows: of them: the oldest, as too many waited for the network.
    """

    packets: int = 0
    malformed: int = 0
    dropped_packets: int = 0
    events: int = 0
    outside: int = 0
    cropped: int = 0
    denoised: int = 0
    reordered: int = 0
    late: int = 0
    clock_sets: int = 0
    windows: int = 0
    dropped_windows: int = 0

    def as_dict(self) -> dict[str, int]:
        """For the summary."""
        return asdict(self)


class CountsAsMetrics:
    """Adds to the metrics what has been counted since it did so last."""

    def __init__(self, counts: StreamCounts, metrics: Metrics) -> None:
        self._counts = counts
        self._metrics = metrics
        self._told = StreamCounts()

    def tell(self) -> None:
        """Bring the metrics up to date."""
        for field in fields(StreamCounts):
            now, before = getattr(self._counts, field.name), getattr(self._told, field.name)
            if now > before:
                self._metrics.count("neucodex_edge_event_stream_total", now - before, what=field.name)
                setattr(self._told, field.name, now)
