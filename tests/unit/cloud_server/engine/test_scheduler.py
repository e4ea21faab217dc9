"""The scheduler against a plain model, as a state machine, and its promises one by one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloud_server.engine.scheduler import Scheduler

BOUND = 12
MAX_BATCH = 4
STREAMS = 5
OWNERS = 3
"""Of stream s it is s % OWNERS."""


class SchedulerMachine(RuleBasedStateMachine):
    """Anything may happen in any order: what must always hold is checked at every `take` and after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler: Scheduler[int] = Scheduler(MAX_BATCH, BOUND)
        self.now = 0.0
        self.next_sample = 0
        self.stream_of: dict[int, int] = {}
        self.sent: dict[int, int] = {}
        """Frames submitted of each sample that is not dropped."""
        self.taken: dict[int, int] = {}
        self.running: list[tuple] = []
        self.running_samples: set[int] = set()

    def waiting(self) -> int:
        return sum(self.sent[sample] - self.taken[sample] for sample in self.sent)

    def owner_of(self, sample: int) -> int:
        return self.stream_of[sample] % OWNERS

    def ready_samples(self) -> set[int]:
        return {s for s in self.sent if self.sent[s] > self.taken[s] and s not in self.running_samples}

    @rule(stream=st.integers(0, STREAMS - 1), frames=st.integers(1, 4), pause=st.floats(0, 2))
    def new_sample(self, stream: int, frames: int, pause: float) -> None:
        self.now += pause
        sample, self.next_sample = self.next_sample, self.next_sample + 1
        self.stream_of[sample], self.sent[sample], self.taken[sample] = stream, 0, 0
        for _ in range(frames):
            self.submit(sample)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def another_frame(self, data: st.DataObject) -> None:
        self.submit(data.draw(st.sampled_from(sorted(self.sent))))

    def submit(self, sample: int) -> None:
        full = self.waiting() >= BOUND
        number = self.sent[sample]
        assert (
            self.scheduler.submit(self.owner_of(sample), self.stream_of[sample], sample, number, self.now) is not full
        )
        self.sent[sample] += not full

    @rule(pause=st.floats(0, 2))
    def take(self, pause: float) -> None:
        self.now += pause
        ready = self.ready_samples()
        ready_owners = {self.owner_of(sample) for sample in ready}
        coming = self.scheduler.upcoming()
        batch = self.scheduler.take(self.now)
        assert list(batch) == coming, "what was foretold"
        assert len(batch) == min(len(ready), MAX_BATCH), "never idle while request is ready, never over the cap"
        samples = [entry.sample for entry in batch]
        assert len(set(samples)) == len(samples), "two timesteps of one sample in one batch"
        assert set(samples) <= ready
        for entry in batch:
            assert entry.item == self.taken[entry.sample], "frames of a sample run in order"
            self.taken[entry.sample] += 1
            self.running_samples.add(entry.sample)
        turns = Counter(map(self.owner_of, samples))
        if len(batch) >= len(ready_owners):
            assert turns.keys() == ready_owners, "an owner was left out while another got a second turn"
        for owner, count in turns.items():
            streams = {self.stream_of[sample] for sample in ready if self.owner_of(sample) == owner}
            served = {self.stream_of[sample] for sample in samples if self.owner_of(sample) == owner}
            assert len(served) == min(count, len(streams)), "a stream was left out while another got a second turn"
        if batch:
            self.running.append(batch)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def look_ahead(self, data: st.DataObject) -> None:
        batch = self.running[data.draw(st.integers(0, len(self.running) - 1))]
        ready = len(self.scheduler.upcoming())
        coming = self.scheduler.upcoming(batch)
        assert len(coming) <= MAX_BATCH
        assert coming[:ready] == self.scheduler.upcoming()
        followed = {entry.sample: entry.item for entry in batch}
        for entry in coming[ready:]:
            assert entry.item == followed[entry.sample] + 1, "the frame right after the one that runs"

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.running_samples -= {entry.sample for entry in batch}
        self.scheduler.finish(batch, self.now)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(sorted(self.sent)))
        dropped = self.scheduler.drop(sample)
        assert dropped == self.sent.pop(sample) - self.taken.pop(sample)

    @invariant()
    def counts_agree(self) -> None:
        assert self.scheduler.waiting == self.waiting() <= BOUND
        assert self.scheduler.ready == len(self.ready_samples())
        assert (self.scheduler.wait_time(self.now) is None) == (not self.ready_samples())


SchedulerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestScheduler = SchedulerMachine.TestCase


def samples_of(batch: tuple) -> list:
    return [entry.sample for entry in batch]


def test_oldest_ready_first() -> None:
    scheduler: Scheduler[str] = Scheduler(2, 100)
    for now, sample in enumerate("abcd"):
        scheduler.submit(f"owner of {sample}", "s", sample, "", float(now))
    assert samples_of(scheduler.take(9.0)) == ["a", "b"]
    assert samples_of(scheduler.take(9.0)) == ["c", "d"]


def test_a_flooding_stream_does_not_starve_others() -> None:
    scheduler: Scheduler[str] = Scheduler(4, 10_000)
    for sample in range(1000):
        scheduler.submit("flood", "s", ("flood", sample), "", 0.0)
    for name in ("one", "two"):
        scheduler.submit(name, "s", name, "", 1.0)
    first = samples_of(scheduler.take(2.0))
    assert {"one", "two"} <= set(first)
    assert len(first) == 4, "the flood has what the others leave"


def test_many_floods_leave_a_newcomer_its_turn() -> None:
    scheduler: Scheduler[str] = Scheduler(4, 10_000)
    for stream in range(40):
        for sample in range(50):
            scheduler.submit(stream, "s", (stream, sample), "", 0.0)
    scheduler.take(0.0)
    scheduler.submit("newcomer", "s", "newcomer", "", 1.0)
    batches = 0
    while "newcomer" not in samples_of(scheduler.take(2.0)):
        batches += 1
    assert batches <= 41 // 4, "one turn of every stream at most"


def test_an_owner_has_one_turn_however_many_streams_it_opens() -> None:
    scheduler: Scheduler[str] = Scheduler(4, 10_000)
    for stream in range(200):
        scheduler.submit("many", stream, ("many", stream), "", 0.0)
    scheduler.take(0.0)
    for name in ("one", "two"):
        scheduler.submit(name, "s", name, "", 1.0)
    assert {"one", "two"} <= set(samples_of(scheduler.take(2.0)))


def test_streams_of_one_owner_take_turns() -> None:
    scheduler: Scheduler[str] = Scheduler(2, 100)
    for sample in range(4):
        scheduler.submit("o", "flood", ("flood", sample), "", 0.0)
    scheduler.submit("o", "other", "other", "", 1.0)
    assert samples_of(scheduler.take(2.0)) == [("flood", 0), "other"]


def test_an_owner_has_its_share_of_the_queue() -> None:
    scheduler: Scheduler[int] = Scheduler(2, 18)
    for sample in range(16):
        assert scheduler.has_room("flood")
        scheduler.submit("flood", "s", sample, 1, 0.0)
    assert not scheduler.has_room("flood")
    assert scheduler.has_room("other")
    scheduler.drop(0)
    assert scheduler.has_room("flood")
    scheduler.take(0.0)
    assert scheduler.waiting == 13


def test_the_next_timestep_waits_for_the_one_before() -> None:
    scheduler: Scheduler[int] = Scheduler(8, 100)
    for timestep in (1, 2, 3):
        scheduler.submit("o", "s", "a", timestep, 0.0)
    batch = scheduler.take(0.0)
    assert [entry.item for entry in batch] == [1]
    assert scheduler.take(0.0) == ()
    scheduler.finish(batch, 1.0)
    assert [entry.item for entry in scheduler.take(1.0)] == [2]


def test_a_batch_may_wait_for_company_but_not_longer() -> None:
    scheduler: Scheduler[str] = Scheduler(2, 100, max_wait=0.5)
    scheduler.submit("o", "s", "a", "", 10.0)
    assert scheduler.take(10.25) == ()
    assert scheduler.wait_time(10.25) == pytest.approx(0.25)
    assert samples_of(scheduler.take(10.5)) == ["a"]
    scheduler.submit("o", "s", "b", "", 20.0)
    scheduler.submit("o", "s", "c", "", 20.0)
    assert len(scheduler.take(20.0)) == 2, "a full batch does not wait"


def test_what_was_dropped_while_it_ran_does_not_come_back() -> None:
    scheduler: Scheduler[int] = Scheduler(2, 100)
    scheduler.submit("o", "s", "a", 1, 0.0)
    scheduler.submit("o", "s", "a", 2, 0.0)
    batch = scheduler.take(0.0)
    assert scheduler.drop("a") == 1
    scheduler.finish(batch, 1.0)
    assert scheduler.take(1.0) == ()
    assert scheduler.waiting == 0
    assert scheduler.drop("a") == 0


def test_beyond_the_bound_nothing_is_queued() -> None:
    scheduler: Scheduler[int] = Scheduler(2, 2)
    assert scheduler.submit("o", "s", "a", 1, 0.0)
    assert scheduler.submit("o", "s", "a", 2, 0.0)
    assert not scheduler.submit("o", "s", "b", 1, 0.0)
    assert scheduler.waiting == 2
    assert scheduler.take(0.0)
    assert scheduler.submit("o", "s", "b", 1, 0.0)


@pytest.mark.parametrize("values", [(0, 1, 0.0), (1, 0, 0.0), (1, 1, -1.0)])
def test_senseless_limits_are_refused(values: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="max_batch"):
        Scheduler(*values)
