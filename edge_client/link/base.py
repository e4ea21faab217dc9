"""What the loop sees of the link: a stream to a cloud, and on this stream a handle for each sample.

`grpc_transport.py` has both over gRPC. `cloud_link.py` is the link that keeps such a stream open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from edge_client.link.patience import AnswerPatience
from shared.errors import CloudUnavailable, NeucodexError
from shared.messages import Frame, Ready, Rejection, StepResult, Stop

Reply = StepResult | Rejection
"""What a cloud sends for a frame."""


class SampleStream(Protocol):
    """One sample on one stream, from its first frame to `stop`. It is used by one task."""

    @property
    def number(self) -> int:
        """The sample's number on the wire: 1 or more, unique among the samples that are open on the stream."""

    @property
    def has_answer(self) -> bool:
        """Whether an answer waits for `receive`."""

    def send(self, frame: Frame) -> None:
        """Queue the sample's next frame, numbered `number`. All frames of a stream leave in the order of these calls.

        Raises:
            CloudUnavailable, CloudRefused: the stream is lost.
        """

    def when_flushed(self, do: Callable[[], None]) -> None:
        """Call `do` once every frame sent so far has left this process: at once if all have, never after `stop`.

        Only the last `do` is kept.
        """

    async def receive(self, within_s: float) -> Reply:
        """The next answer, in the cloud's order. After a Rejection there are no more.

        Raises:
            TimeoutError: nothing came within `within_s` seconds.
            CloudUnavailable, CloudRefused: the stream is lost, and every answer that came before has been received.
        """

    def stop(self) -> Sequence[Frame | Stop]:
        """End the sample: drop what is queued for it and what has come, and send the cloud a Stop if it needs one.

        The Stop leaves at once while the cloud owes answers, because it would go on with the sample. Otherwise it waits
        a moment for a frame to travel with.

        Returns:
            What will never leave: queued frames, and the Stop itself if the cloud has not heard of the sample, has
            rejected it, or is lost.
        """


class Transport(Protocol):
    """One stream to one cloud. It is opened once and does not come back after it is lost."""

    async def open(self, on_lost: Callable[[NeucodexError], None], patience: AnswerPatience | None) -> Ready:
        """Connect and agree on the bundle; call it once, before anything else.

        Args:
            on_lost: called once, with the reason, when the stream is lost or closed after `open` has returned, and
                before any sample raises it. Callers raise copies, never the exception itself.
            patience: the stream is lost, too, when an answer is due for longer than this; None waits for it.

        Raises:
            CloudUnavailable: the cloud did not answer within the deadline.
            CloudRefused: the cloud does not serve this edge.
        """

    def open_sample(self) -> SampleStream:
        """A handle for one more sample. The cloud hears of the sample with its first frame.

        Raises:
            CloudUnavailable, CloudRefused: the stream is lost.
        """

    async def close(self) -> None:
        """End the stream; the cloud frees what it held. May be called twice, and before `open`."""


class Link(Protocol):
    """Keeps a stream open, to one cloud or another."""

    @property
    def current(self) -> Transport | None:
        """The open stream; None while there is none."""

    async def transport(self, within_s: float) -> Transport:
        """The open stream, or the next one.

        Raises:
            TimeoutError: there is none within `within_s` seconds.
            CloudUnavailable: the link was closed.
            CloudRefused: every cloud refused this edge, one after the other, also on a stream that was open.
        """

    @property
    def down_since(self) -> float | None:
        """When the last stream was lost, or the link was created, by the loop's clock; None while a stream is open."""

    def unavailable_error(self, waited_s: float | None = None) -> CloudUnavailable:
        """Why there is no stream, for people. A new exception on each call, ready to be raised.

        Args:
            waited_s: for how long, if not for the connection's deadline.
        """
