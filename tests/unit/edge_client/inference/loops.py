"""The loop over samples with everything around it scripted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.inference.co_inference import CoInference
from edge_client.inference.lookahead import Plan
from edge_client.inference.verdict import Step
from shared.exit_policy import ExitPolicy
from shared.messages import Rejection, RejectionCode
from shared.spike_codec import SpikeCodec
from tests.unit.edge_client.fakes import (
    SHAPE,
    Clock,
    CountingHead,
    FakeLink,
    FakeTransport,
    T,
)

SURE = (0.05, 0.95)
UNSURE = (0.6, 0.4)


def loop(transport: FakeTransport | FakeLink, clock: Clock | None = None, **settings: Any) -> CoInference:
    clock = clock or Clock()
    link = transport if isinstance(transport, FakeLink) else FakeLink([transport], clock)
    head = settings.pop("head", None) or CountingHead()
    policy = settings.pop("policy", ExitPolicy("max_probability", 0.9))
    codec = SpikeCodec(SHAPE)
    return CoInference(head, codec, link, policy, T, clock=clock, sleep=clock.sleep, **settings)


class Scripted:
    """One plan, and what it was told."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.alone: list[bool] = []
        self.exits: list[int] = []

    def next_plan(self) -> Plan:
        return self._plan

    def observe_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        self.alone.append(alone)

    def observe_exit(self, timestep: int) -> None:
        self.exits.append(timestep)


class SpikeCounter:
    """A local exit that is as sure as the mean of the spikes says: class 1 from `sure_from` timesteps on."""

    policy = ExitPolicy("max_probability", 0.9)

    def __init__(self, sure_from: int) -> None:
        self.sure_from = sure_from
        self.asked: list[NDArray[np.float32]] = []

    def confidences(self, mean_spikes: NDArray[np.float32]) -> tuple[float, ...]:
        self.asked.append(mean_spikes)
        return (0.08, 0.92) if len(self.asked) >= self.sure_from else (0.7, 0.3)


def rejection(code: RejectionCode, retry_after_ms: int = 0) -> Rejection:
    return Rejection(0, code, "as scripted", retry_after_ms)
