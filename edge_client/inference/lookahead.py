"""How far ahead of the cloud's answers a sample's frames are encoded and sent. Pure: it computes a plan from times and
counts.

Sending ahead buys latency with bytes, prefetching buys it with the head's work. Neither changes an answer: the verdict
is that of the first certain timestep, also if later frames were sent.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Protocol

from edge_client.inference.verdict import Step

BYTE_PRICE_US = 50.0
"""How many microseconds of latency a byte is worth by default: its time on a link of 160 kbit/s, a poor mobile one."""

WASTE_PRICE = 0.1
"""How many seconds of latency a second of wasted head work is worth: it costs energy, but delays no sample."""

ESTIMATE_FRAMES = 9
"""Frames over which times are estimated, by the median: one stall is no trend."""

MEASURE_EVERY = 16
"""One sample in this many begins in lockstep where the plan does not. Only a frame that nothing follows before its
answer measures the link. Frames that wait for each other would make the plan send ever more."""

PRIOR_SAMPLES = 20.0
"""After this many samples of its own, an edge's exits outweigh those of the bundle's test."""

FORGETTING = 0.99
"""The weight of a sample's exit is multiplied by this with each later sample: about the last hundred count."""

REPLAN_EVERY = 8
"""Samples between two plans. At first there are fewer, when each sample changes the estimates: 1, 2, 4, 8, 16, 24..."""


@dataclass(frozen=True)
class Plan:
    """How far ahead to go with one sample, in frames.

    `initial_window` frames may be sent before the first result, `window` frames beyond the last result afterwards.
    `prefetch` frames are encoded beyond those that may be sent.
    """

    initial_window: int = 1
    window: int = 1
    prefetch: int = 0

    def sendable(self, results: int, timesteps: int) -> int:
        """How many frames may have been sent once this many results are known, none of them certain."""
        return min(timesteps, self.initial_window if results == 0 else max(self.initial_window, results + self.window))

    def encodable(self, results: int, timesteps: int) -> int:
        """How many frames may have been encoded by then."""
        return min(timesteps, self.sendable(results, timesteps) + self.prefetch)


@dataclass(frozen=True)
class Costs:
    """What a timestep takes, in seconds, and what bytes cost.

    `round_trip_s` is the time to the cloud and back, `queue_s` and `tail_s` what the cloud reports, `head_s` the head
    with the encoder and codec. `frame_bytes` is a frame with all that carries it. `busy_s` is how much later an answer
    is seen if the head works meanwhile: 0 with a spare core, much if head and link share one.
    """

    round_trip_s: float
    queue_s: float
    tail_s: float
    head_s: float
    frame_bytes: float
    byte_price_s: float = BYTE_PRICE_US / 1e6
    busy_s: float = 0.0


@dataclass(frozen=True)
class Timeline:
    """When things happen to a sample that is never certain: seconds from its input, one moment for each timestep.

    `started` and `encoded` are the head's work on a frame, `sent` is when it leaves, `result` when its answer is seen.
    """

    started: tuple[float, ...]
    encoded: tuple[float, ...]
    sent: tuple[float, ...]
    result: tuple[float, ...]


def timeline(plan: Plan, costs: Costs, timesteps: int) -> Timeline:
    """The timeline of a sample under a plan: one head, one frame at a time; one cloud, one frame at a time."""
    started: list[float] = []
    encoded: list[float] = []
    sent: list[float] = []
    result: list[float] = []
    for t in range(timesteps):
        # Frame t, and those that are encoded before its result is known.
        while len(encoded) < plan.encodable(t, timesteps):
            allowed = _when(plan.encodable, len(encoded), result, timesteps)
            started.append(max(allowed, encoded[-1] if encoded else 0.0))
            encoded.append(started[-1] + costs.head_s)
        sent.append(max(encoded[t], _when(plan.sendable, t, result, timesteps)))
        arrives = sent[t] + costs.round_trip_s / 2 + costs.queue_s
        begins = max(arrives, result[-1] - costs.round_trip_s / 2) if result else arrives
        comes = begins + costs.tail_s + costs.round_trip_s / 2
        busy = any(start < comes and end > sent[t] for start, end in zip(started, encoded, strict=True))
        result.append(comes + (costs.busy_s if busy else 0.0))
    return Timeline(tuple(started), tuple(encoded), tuple(sent), tuple(result))


def expected_cost_s(plan: Plan, costs: Costs, exits: Sequence[float]) -> float:
    """The mean cost of a sample in seconds of latency.

    Args:
        plan: to be judged.
        costs: of a timestep.
        exits: for each timestep 1..T the share of samples that stop there; they sum to 1.
    """
    timesteps = len(exits)
    moments = timeline(plan, costs, timesteps)
    total = 0.0
    for t, (share, stop) in enumerate(zip(exits, moments.result, strict=True)):
        frames = sum(moment < stop for moment in moments.sent)
        started = sum(moment < stop for moment in moments.started)
        # The next sample waits for the step that the head is at.
        rest = max(0.0, moments.encoded[started - 1] - stop)
        waste = WASTE_PRICE * costs.head_s * (started - t - 1)
        total += share * (stop + rest + waste + costs.byte_price_s * costs.frame_bytes * frames)
    return total


def best_plan(costs: Costs, exits: Sequence[float], *, can_prefetch: bool = True) -> Plan:
    """The cheapest plan; of equals the one that sends and prefetches least.

    Args:
        costs: of a timestep.
        exits: as `expected_cost_s` takes them.
        can_prefetch: whether frames may be encoded that may not be sent yet.
    """
    timesteps = len(exits)
    counts = sorted({*range(1, min(timesteps, 4) + 1), *range(8, timesteps, 4), timesteps})
    prefetches = (0, 1, timesteps - 1) if can_prefetch else (0,)
    plans = itertools.starmap(Plan, itertools.product(counts, counts, prefetches))
    return min(
        plans,
        key=lambda plan: (
            round(expected_cost_s(plan, costs, exits), 9),
            plan.initial_window,
            plan.window,
            plan.prefetch,
        ),
    )


class Lookahead(Protocol):
    """Decides for each sample how far ahead to go, and learns from the answers."""

    def next_plan(self) -> Plan:
        """The plan for the next sample; call it once for each."""

    def observe_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """A frame was answered.

        Args:
            step: the timestep's durations.
            frame_bytes: of the frame with all that carries it.
            alone: no other frame of the sample was unanswered meanwhile.
            head_idle: the head worked on no other frame meanwhile.
        """

    def observe_exit(self, timestep: int) -> None:
        """A sample stopped at this timestep, 1..T."""


class FixedLookahead:
    """The same window for every sample, in frames: 1 is lockstep, T is full streaming."""

    def __init__(self, window: int) -> None:
        self._plan = Plan(window, window)

    def next_plan(self) -> Plan:
        return self._plan

    def observe_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """Changes nothing."""

    def observe_exit(self, timestep: int) -> None:
        """Changes nothing."""


class AutoLookahead:
    """The cheapest plan by the measurements so far. It begins in lockstep, which measures best.

    Args:
        timesteps: T.
        prior: samples of the bundle's test that stopped at each timestep, or None.
        byte_price_s: how many seconds of latency a byte is worth.
        can_prefetch: see `best_plan`.
    """

    def __init__(
        self, timesteps: int, prior: Sequence[float] | None, byte_price_s: float, *, can_prefetch: bool = True
    ) -> None:
        self.plan = Plan()
        self._byte_price_s = byte_price_s
        self._can_prefetch = can_prefetch
        weights = list(prior) if prior is not None and sum(prior) > 0 else [1.0] * timesteps
        self._exits = [PRIOR_SAMPLES * weight / sum(weights) for weight in weights]
        self._trips: deque[tuple[float, float, float]] = deque(maxlen=ESTIMATE_FRAMES)
        self._work: deque[tuple[float, float]] = deque(maxlen=ESTIMATE_FRAMES)
        self._busy_trips: deque[float] = deque(maxlen=ESTIMATE_FRAMES)
        self._planned = 0
        self._exits_seen = 0
        self._plan_at = 1

    @property
    def costs(self) -> Costs | None:
        """The present estimates; None before the first step."""
        if not (self._trips and self._work):
            return None
        round_trip_s, queue_s, tail_s = (median(column) for column in zip(*self._trips, strict=True))
        head_s, frame_bytes = (median(column) for column in zip(*self._work, strict=True))
        busy_s = max(0.0, median(self._busy_trips) - round_trip_s) if self._busy_trips else 0.0
        return Costs(round_trip_s, queue_s, tail_s, head_s, frame_bytes, self._byte_price_s, busy_s)

    @property
    def exits(self) -> tuple[float, ...]:
        """The present estimate of the share of samples that stop at each timestep."""
        total = sum(self._exits)
        return tuple(weight / total for weight in self._exits)

    def next_plan(self) -> Plan:
        """The present plan, or once in MEASURE_EVERY samples one that measures."""
        self._planned += 1
        return replace(self.plan, initial_window=1, prefetch=0) if self._planned % MEASURE_EVERY == 0 else self.plan

    def observe_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """Frames that were alone while the head was idle measure link and cloud. Those that were alone while it worked
        measure how much longer an answer then takes.
        """
        self._work.append((step.head_s + step.encode_s, frame_bytes))
        if not alone:
            return
        round_trip_s = max(0.0, step.send_to_result_s - step.queue_s - step.tail_s)
        if head_idle:
            self._trips.append((round_trip_s, step.queue_s, step.tail_s))
        else:
            self._busy_trips.append(round_trip_s)

    def observe_exit(self, timestep: int) -> None:
        """Count the exit, and make a new plan where one is due."""
        self._exits = [weight * FORGETTING for weight in self._exits]
        self._exits[timestep - 1] += 1.0
        self._exits_seen += 1
        costs = self.costs
        if self._exits_seen >= self._plan_at and costs is not None:
            self._plan_at = self._exits_seen + min(self._exits_seen, REPLAN_EVERY)
            self.plan = best_plan(costs, self.exits, can_prefetch=self._can_prefetch)


def exits_tested(measured: Mapping[str, Any], timesteps: int) -> list[float] | None:
    """How many test samples stopped at each timestep, from a manifest's figures of an execution; None if unknown."""
    test = measured.get("test")
    counts = test.get("exits_by_timestep") if isinstance(test, Mapping) else None
    if not isinstance(counts, Sequence) or len(counts) != timesteps:
        return None
    if not all(isinstance(count, int | float) and count >= 0 for count in counts):
        return None
    return [float(count) for count in counts]


def _when(allowed: Callable[[int, int], int], t: int, results: Sequence[float], timesteps: int) -> float:
    """The moment from which frame number t (from 0) is allowed: that of the first result that allows it."""
    known = next(count for count in range(t + 1) if allowed(count, timesteps) > t)
    return results[known - 1] if known else 0.0
