"""What carries frames to a cloud and its answers back, as the loop knows it; `grpc_transport.py` is its gRPC form.

A transport is one bidirectional stream; it is opened once, carries all samples until it is lost, and does not come
back: `cloud_link.py` opens another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_client.link.inbox import Answer
from shared.errors import NeucodexError
from shared.messages import Frame, Ready, Stop


class Transport(Protocol):
    """One stream to one cloud. Sample numbers are the caller's, positive, unique among the samples it has open."""

    async def open(self) -> Ready:
        """Connect and agree on the bundle; call it once, before anything else.

        Raises:
            CloudUnavailable: nobody answered within the deadline.
            CloudRefused: the cloud does not serve this edge.
        """

    def send(self, frame: Frame) -> None:
        """Queue a frame; frames leave in this order.

        Raises:
            CloudUnavailable, CloudRefused: the stream is lost.
        """

    def stop(self, sample: int, under_way: bool) -> Sequence[Frame | Stop]:
        """Nothing more of this sample is needed: drop what is queued for it and what has come, and tell the cloud.

        Args:
            sample: its number.
            under_way: frames of it are not answered: the cloud is told at once, lest it step them in vain. Else with
                the next sample's frame, if one follows soon.

        Returns:
            What never left; the Stop is among it where the cloud has not heard of the sample.
        """

    def when_written(self, sample: int, do: Callable[[], None]) -> None:
        """Call `do` once what was sent of this sample has left this process: at once if it has, never after `stop`. One
        call is kept for a sample, the last."""

    async def receive(self, sample: int, within_s: float) -> Answer | None:
        """The next answer for an open sample, in the cloud's order; None after a nudge. A Rejection is its last.

        Raises:
            TimeoutError: nothing came within `within_s` seconds.
            CloudUnavailable, CloudRefused: the stream is lost.
        """

    def arrived(self, sample: int) -> bool:
        """Whether `receive` would return an answer at once."""

    def nudge(self, sample: int) -> None:
        """Let the `receive` that waits for this sample return None."""

    @property
    def ended(self) -> NeucodexError | None:
        """Why the stream is lost, never raised itself; None while it lives."""

    async def lost(self) -> NeucodexError:
        """Wait until the stream has ended, and say why, as `ended`."""

    async def close(self) -> None:
        """End the stream; the cloud frees what it held. May be called twice, and before `open`."""
