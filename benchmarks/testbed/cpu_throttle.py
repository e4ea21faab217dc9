"""A slower edge than this machine: its process waits for as long as a slower core would still have computed."""

from __future__ import annotations

import threading
import time

from edge_client.heads.base import Head, HeadRun, InputArray
from shared.spike_codec import Spikes


class CpuThrottle:
    """Holds this process to a share of a core, where the time is spent: a debt of CPU time that is waited off.

    Each second that the process computes, in any of its threads, costs 1 / share - 1 seconds of waiting. It is waited
    after each step of the head, and before an answer counts. A quota of the kernel does not do that: what a process
    leaves of it while it waits for the link it may spend at full speed.

    Args:
        share: of a core, in (0, 1].
    """

    def __init__(self, share: float) -> None:
        assert 0.0 < share <= 1.0
        self._price = 1.0 / share - 1.0
        self._settled = time.process_time()
        self._lock = threading.Lock()

    def begin(self) -> None:
        """What was done before is no sample's."""
        with self._lock:
            self._settled = time.process_time()

    def wait(self) -> None:
        """Wait off what was computed since; the thread that calls it waits, as it would have computed."""
        with self._lock:
            before, self._settled = self._settled, time.process_time()
            owed = (self._settled - before) * self._price
        time.sleep(owed)


class ThrottledHead:
    """A head that takes its time; it counts the timesteps that it computed, those that nothing used too."""

    def __init__(self, head: Head, throttle: CpuThrottle) -> None:
        self._head = head
        self.throttle = throttle
        self.steps = 0

    def start(self, pixels: InputArray) -> HeadRun:
        """A sample before its first timestep."""
        return _ThrottledRun(self, self._head.start(pixels))


class _ThrottledRun:
    def __init__(self, head: ThrottledHead, run: HeadRun) -> None:
        self._head = head
        self._run = run

    def step(self) -> Spikes:
        self._head.steps += 1
        spikes = self._run.step()
        self._head.throttle.wait()
        return spikes
