"""The interface of sources of samples. This folder has one module for each kind.

A source is iterated once. What cannot be read comes out as `Unreadable` in its place, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge_client.heads.base import InputArray
from edge_client.inference.sample import Sample
from shared.metrics import Metrics


@dataclass(frozen=True)
class Unreadable:
    """An input that could not be read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Still:
    """A sample in which nothing happens: it is not classified. `changed` is the share of its pixels that changed."""

    sample: Sample
    changed: float


Item = Sample | Unreadable | Still


@dataclass(frozen=True)
class FilePart:
    """One sample of a file that is not read yet.

    Attributes:
        name: the same in every run over the same file.
        time_s: where it begins in the file, in seconds; None where the file is one sample.
        read: its array; raises SourceError where it cannot be read.
    """

    name: str
    time_s: float | None
    read: Callable[[], InputArray]


Skip = Callable[[str], bool]
"""Whether the sample of this name is done already; asked once for each, before it is read."""


nothing_done: Skip = frozenset[str]().__contains__
"""A `Skip` for a run from the start."""


class Source(Protocol):
    """An iterable of samples, iterated in a thread of its own: it may wait for its input.

    `count` is how many there are, unreadable and skipped ones included; None while it is not known. `simulated` is true
    when events were computed from pictures and no camera recorded them. `read_ahead` is false where a sample is worth
    most when it is new: it is asked for when there is room for it, and not before.
    """

    count: int | None = None
    simulated: bool = False
    read_ahead: bool = True

    def __iter__(self) -> Iterator[Item]: ...

    def close(self) -> None:
        """End the waiting for the next sample. Called from another thread."""
        return

    def observe(self, metrics: Metrics) -> None:  # noqa: ARG002
        """Where something happens on the way to samples: tell these metrics. Called before it is iterated."""
        return

    def stream_counts(self) -> Mapping[str, int] | None:
        """What has happened so far on the way from a stream to samples; None where there is no stream."""
        return None
