"""How far ahead of the cloud's answers a sample's frames are made and sent. Pure: times and counts in, a plan out.

Sending ahead buys latency with bytes, making ahead buys it with the head's work. Neither changes an answer: the verdict
is that of the first certain timestep whatever was sent beyond it.
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
"""Microseconds of latency that a byte is worth by default: what it takes on a link of 160 kbit/s, a poor mobile one."""

WASTE_PRICE = 0.1
"""Seconds of latency that a second of the head's work in vain is worth: it costs energy, and no time of anyone's."""

WINDOW = 9
"""Frames over which times are estimated, by the median: one stall is no trend."""

MEASURE_EVERY = 16
"""Samples of which one begins in lockstep where the plan does not: only a frame that nothing follows before its answer
says what the link takes. Others wait for one another, and would talk the plan into sending ever more."""

PRIOR_SAMPLES = 20.0
"""Samples of its own after which what an edge sees outweighs what its bundle was tested on."""

FORGETTING = 0.99
"""What a sample's exit counts for after the next sample: the last hundred samples make the picture."""

REPLAN_EVERY = 8
"""Samples between two plans; fewer in the beginning, when each sample changes the picture: 1, 2, 4, 8, 16, 24..."""


@dataclass(frozen=True)
class Plan:
    """How far ahead to go with one sample, in frames.

    `first` may be under way before the first result, `then` beyond the last result afterwards; `made` are made beyond
    those that may be sent.
    """

    first: int = 1
    then: int = 1
    made: int = 0

    def sendable(self, results: int, timesteps: int) -> int:
        """How many frames may have been sent once so many results are known, none of them certain."""
        return min(timesteps, self.first if results == 0 else max(self.first, results + self.then))

    def makeable(self, results: int, timesteps: int) -> int:
        """How many frames may have been made by then."""
        return min(timesteps, self.sendable(results, timesteps) + self.made)


@dataclass(frozen=True)
class Costs:
    """What a timestep takes, in seconds, and what bytes cost.

    `round_trip_s` is the way there and back, `queue_s` and `tail_s` what the cloud reports, `head_s` the head with the
    encoder and codec. `frame_bytes` is a frame with all that carries it. `busy_s` is how much later an answer is seen
    if the head works meanwhile: nothing where there is a core to spare, much where head and link share one.
    """

    round_trip_s: float
    queue_s: float
    tail_s: float
    head_s: float
    frame_bytes: float
    byte_price_s: float = BYTE_PRICE_US / 1e6
    busy_s: float = 0.0


@dataclass(frozen=True)
class Course:
    """How a sample that is never certain goes: moments in seconds from its input, one for each timestep."""

    begun: tuple[float, ...]
    made: tuple[float, ...]
    sent: tuple[float, ...]
    result: tuple[float, ...]


def course(plan: Plan, costs: Costs, timesteps: int) -> Course:
    """The course of a sample under a plan: one head, one frame at a time; one cloud, one frame at a time."""
    begun: list[float] = []
    made: list[float] = []
    sent: list[float] = []
    result: list[float] = []
    for t in range(timesteps):
        # Frame t, and those that are made before its result is known.
        while len(made) < plan.makeable(t, timesteps):
            may_make = _when(plan.makeable, len(made), result, timesteps)
            begun.append(max(may_make, made[-1] if made else 0.0))
            made.append(begun[-1] + costs.head_s)
        sent.append(max(made[t], _when(plan.sendable, t, result, timesteps)))
        arrives = sent[t] + costs.round_trip_s / 2 + costs.queue_s
        begins = max(arrives, result[-1] - costs.round_trip_s / 2) if result else arrives
        comes = begins + costs.tail_s + costs.round_trip_s / 2
        busy = any(start < comes and end > sent[t] for start, end in zip(begun, made, strict=True))
        result.append(comes + (costs.busy_s if busy else 0.0))
    return Course(tuple(begun), tuple(made), tuple(sent), tuple(result))


def expected_cost_s(plan: Plan, costs: Costs, exits: Sequence[float]) -> float:
    """The mean cost of a sample in seconds of latency.

    Args:
        plan: to be judged.
        costs: of a timestep.
        exits: for each timestep 1..T the share of samples that stop there; they sum to 1.
    """
    timesteps = len(exits)
    way = course(plan, costs, timesteps)
    total = 0.0
    for t, (share, stop) in enumerate(zip(exits, way.result, strict=True)):
        frames = sum(moment < stop for moment in way.sent)
        begun = sum(moment < stop for moment in way.begun)
        # The next sample waits for the step that the head is at.
        rest = max(0.0, way.made[begun - 1] - stop)
        waste = WASTE_PRICE * costs.head_s * (begun - t - 1)
        total += share * (stop + rest + waste + costs.byte_price_s * costs.frame_bytes * frames)
    return total


def best_plan(costs: Costs, exits: Sequence[float], *, make_ahead: bool = True) -> Plan:
    """The cheapest plan; of equals the one that sends and makes least.

    Args:
        costs: of a timestep.
        exits: as `expected_cost_s` takes them.
        make_ahead: whether frames may be made that may not be sent yet.
    """
    timesteps = len(exits)
    counts = sorted({*range(1, min(timesteps, 4) + 1), *range(8, timesteps, 4), timesteps})
    ahead = (0, 1, timesteps - 1) if make_ahead else (0,)
    plans = (Plan(first, then, made) for first, then, made in itertools.product(counts, counts, ahead))
    return min(
        plans, key=lambda plan: (round(expected_cost_s(plan, costs, exits), 9), plan.first, plan.then, plan.made)
    )


class Lookahead(Protocol):
    """Decides for each sample how far ahead to go, and is told what came of it."""

    def next_plan(self) -> Plan:
        """For the next sample; call it once for each."""

    def saw_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """A frame was answered. `alone`: no other frame of its sample was under way meanwhile; `head_idle`: nor was one
        being made, at any moment."""

    def saw_exit(self, timestep: int) -> None:
        """A sample stopped at this timestep, 1..T."""


class FixedLookahead:
    """So many frames for every sample: 1 is lockstep, T is full streaming."""

    def __init__(self, frames: int) -> None:
        self._plan = Plan(frames, frames)

    def next_plan(self) -> Plan:
        return self._plan

    def saw_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """Changes nothing."""

    def saw_exit(self, timestep: int) -> None:
        """Changes nothing."""


class AutoLookahead:
    """The plan that is cheapest by what was measured so far. It begins in lockstep, which measures best.

    Args:
        timesteps: T.
        prior: samples of the bundle's test that stopped at each timestep, or None.
        byte_price_s: seconds of latency that a byte is worth.
        make_ahead: see `best_plan`.
    """

    def __init__(
        self, timesteps: int, prior: Sequence[float] | None, byte_price_s: float, *, make_ahead: bool = True
    ) -> None:
        self.plan = Plan()
        self._byte_price_s = byte_price_s
        self._make_ahead = make_ahead
        weights = list(prior) if prior is not None and sum(prior) > 0 else [1.0] * timesteps
        self._exits = [PRIOR_SAMPLES * weight / sum(weights) for weight in weights]
        self._ways: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)
        self._work: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._busy_trips: deque[float] = deque(maxlen=WINDOW)
        self._planned = 0
        self._exits_seen = 0
        self._plan_at = 1

    @property
    def costs(self) -> Costs | None:
        """The present estimates; None before the first step."""
        if not (self._ways and self._work):
            return None
        round_trip_s, queue_s, tail_s = (median(column) for column in zip(*self._ways, strict=True))
        head_s, frame_bytes = (median(column) for column in zip(*self._work, strict=True))
        busy_s = max(0.0, median(self._busy_trips) - round_trip_s) if self._busy_trips else 0.0
        return Costs(round_trip_s, queue_s, tail_s, head_s, frame_bytes, self._byte_price_s, busy_s)

    @property
    def exits(self) -> tuple[float, ...]:
        """The present estimate of the share of samples that stop at each timestep."""
        total = sum(self._exits)
        return tuple(weight / total for weight in self._exits)

    def next_plan(self) -> Plan:
        """The present plan, or now and then one that measures."""
        self._planned += 1
        return replace(self.plan, first=1, made=0) if self._planned % MEASURE_EVERY == 0 else self.plan

    def saw_step(self, step: Step, frame_bytes: float, alone: bool, head_idle: bool = True) -> None:
        """Times of the link and the cloud are taken from frames that were alone while the head was idle; from those
        that were alone while it worked, how much longer they take."""
        self._work.append((step.head_s + step.encode_s, frame_bytes))
        if not alone:
            return
        round_trip_s = max(0.0, step.send_to_result_s - step.queue_s - step.tail_s)
        if head_idle:
            self._ways.append((round_trip_s, step.queue_s, step.tail_s))
        else:
            self._busy_trips.append(round_trip_s)

    def saw_exit(self, timestep: int) -> None:
        """Count it; plan anew now and then."""
        self._exits = [weight * FORGETTING for weight in self._exits]
        self._exits[timestep - 1] += 1.0
        self._exits_seen += 1
        costs = self.costs
        if self._exits_seen >= self._plan_at and costs is not None:
            self._plan_at = self._exits_seen + min(self._exits_seen, REPLAN_EVERY)
            self.plan = best_plan(costs, self.exits, make_ahead=self._make_ahead)


def exits_tested(measured: Mapping[str, Any], timesteps: int) -> list[float] | None:
    """How many test samples stopped at each timestep, as a manifest says of an execution; None where it does not."""
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
