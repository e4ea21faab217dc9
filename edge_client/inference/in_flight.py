"""A sample between its input and its verdict: what of it was made, sent and answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_client.inference.frame_producer import SampleFrames
from edge_client.inference.lookahead import Plan
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import AnsweredBy, Step, Verdict
from edge_client.link.transport import Transport
from shared.messages import Frame, Stop
from shared.wire import FRAMING_BYTES, message_bytes


@dataclass
class SentFrame:
    """A frame on its way: when it was sent, and how many frames of its sample were made by then.

    `alone`: nothing was under way when it was sent, and nothing followed before its answer.
    """

    at: float
    made: int
    alone: bool


@dataclass
class OpenSample:
    """One sample on its way.

    `number` is its name on the wire, a new one for each start. `steps` are those whose result is known, over all
    starts; `sent_frames` (one for each frame sent) and `answered` belong to this start, which is on `stream`, None
    while it is on none. `progress` is since when the cloud's silence counts: the moment of the last answer, of getting
    a stream, or of having the frame for which the sample waited.
    """

    sample: Sample
    frames: SampleFrames
    plan: Plan
    began: float
    deadline: float
    progress: float
    number: int = 0
    stream: Transport | None = None
    steps: list[Step] = field(default_factory=list)
    sent_frames: list[SentFrame] = field(default_factory=list)
    answered: int = 0
    payload_bytes: int = 0
    message_bytes: int = 0
    messages: int = 0
    lost_before: bool = False
    on_air_since: float | None = None

    @property
    def sent(self) -> int:
        """Frames of this start that were sent."""
        return len(self.sent_frames)

    @property
    def seen(self) -> int:
        """Timesteps whose result is known."""
        return len(self.steps)

    def start(self, number: int, stream: Transport) -> None:
        """Everything is to be sent, under a number of its own: late answers to another one mean nothing."""
        self.number = number
        self.stream = stream
        self.sent_frames = []
        self.answered = 0

    def send_next(self, now: float) -> None:
        """Send the frame that follows; it is made.

        Raises:
            CloudUnavailable, CloudRefused: the stream is lost.
        """
        assert self.stream is not None
        frame = self.frames.made[self.sent]
        message = Frame(self.number, self.sent + 1, frame.codec, frame.spikes)
        self.stream.send(message)
        under_way = self.sent_frames[self.answered :]
        for other in under_way:
            other.alone = False
        self.sent_frames.append(SentFrame(now, len(self.frames.made), alone=not under_way))
        if self.on_air_since is None:
            self.on_air_since = now
        self._count(message, 1)

    def stop(self) -> None:
        """The cloud need not go on."""
        if self.stream is None:
            return
        self._count(Stop(self.number), 1)
        for message in self.stream.stop(self.number, under_way=self.sent > self.answered):
            self._count(message, -1)
        self.stream = None

    def verdict(self, prediction: int, confidence: float, timesteps: int, by: AnsweredBy, now: float) -> Verdict:
        """The answer, with what it took until now."""
        return Verdict(
            self.sample.id,
            prediction,
            confidence,
            timesteps,
            self.payload_bytes,
            now - self.began,
            by,
            tuple(self.steps),
            self.message_bytes,
            self.message_bytes + FRAMING_BYTES * self.messages,
            len(self.frames.made),
            0.0 if self.on_air_since is None else now - self.on_air_since,
        )

    def _count(self, message: Frame | Stop, times: int) -> None:
        if isinstance(message, Frame):
            self.payload_bytes += times * len(message.spikes)
            self.messages += times
        self.message_bytes += times * message_bytes(message)
