"""The interface of what gives live events. This folder has one module for each kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from edge_client.inputs.live_events.columns import EventColumns
from shared.datasets.event_type import Sensor

IDLE_S = 0.02
"""How often a feed says that nothing comes."""


class Feed(Protocol):
    """A stream of events.

    Attributes:
        name: samples are named by it.
        label: index of the class of all its samples, None where it is not known.
        time_bits: of the sender's counter.
    """

    name: str
    label: int | None
    time_bits: int

    @property
    def sensor(self) -> Sensor | None:
        """(height, width) as the sender says; None where it does not. Known when the first batch is there."""

    def batches(self) -> Iterator[EventColumns | None]:
        """Events as they come, and None about every `IDLE_S` in which none came. It ends when the stream does.

        Raises:
            SourceError: it cannot go on.
        """

    def close(self) -> None:
        """End `batches`. Called from another thread."""
