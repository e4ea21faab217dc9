"""The answer to a sample, with its durations and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shared.boards import BoardJoules, Time, Traffic
from shared.energy import Measured, Modelled

AnsweredBy = Literal["cloud", "edge"]


@dataclass(frozen=True)
class Step:
    """One timestep (1..T) of a sample: the answer so far, whether it was certain enough, and what took how long.

    Durations are in seconds. `queue_s` and `tail_s` are the cloud's own report and lie within `send_to_result_s`.
    """

    timestep: int
    prediction: int
    confidence: float
    certain: bool
    head_s: float
    encode_s: float
    send_to_result_s: float
    queue_s: float
    tail_s: float
    batch_size: int


@dataclass(frozen=True)
class SampleEnergy:
    """The energy of one sample.

    `measured` is everything since the previous verdict or `begin`, with other programs and waiting; None without a
    meter, and after the meter has failed. `time` covers the same span: how long it was, and how long this process
    computed. `traffic` is what this sample's messages came to, with headers. `board` is both, at the stated power of
    the board that was named; None if none was.
    """

    modelled: Modelled | None
    measured: Measured | None
    time: Time
    traffic: Traffic
    board: BoardJoules | None = None


@dataclass(frozen=True)
class Verdict:
    """The answer to one sample.

    `prediction` is an index into the bundle's class names and `confidence` its probability at the timestep at which the
    sample stopped, the last of `steps`; `top_k` are as many (class, probability) as were asked for, largest first.
    `payload_bytes` counts the encoded spikes of every frame that was sent, with repeated and superfluous ones;
    `frames_sent` and `answers` count these frames, and what came back for the sample;
    `message_bytes` the messages that carried them, and the Stop; `wire_bytes` these with the framing of gRPC and HTTP/2
    (the Stop travels in a frame's). `latency_s` is from the sample's input to this verdict. `head_steps` counts the
    timesteps that the head ran, needed or not. `on_air_s` is from the first byte sent to the verdict, 0 where none was
    sent. `answered_at` is when the verdict was there, in seconds since 1970. The session fills in `energy` when it
    reports the verdict.
    """

    sample: int
    prediction: int
    confidence: float
    timesteps: int
    payload_bytes: int
    latency_s: float
    answered_by: AnsweredBy
    steps: tuple[Step, ...]
    message_bytes: int = 0
    wire_bytes: int = 0
    frames_sent: int = 0
    answers: int = 0
    head_steps: int = 0
    on_air_s: float = 0.0
    top_k: tuple[tuple[int, float], ...] = ()
    answered_at: float = 0.0
    energy: SampleEnergy | None = None


def exit_step(steps: Sequence[Step]) -> Step:
    """The first certain timestep, or the last one: where a run with early exit stops."""
    return next((step for step in steps if step.certain), steps[-1])
