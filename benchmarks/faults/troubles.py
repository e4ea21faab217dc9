"""Who makes trouble in a fault run: each in a thread of its own, one fault after the other, in random order."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.machine import WallClock, fill
from benchmarks.links.proxy import CUTS, CutKind, DelayProxy, LinkProcess
from benchmarks.processes import CloudProcess, EdgeProcess

QUIET_S = (1.0, 10.0)
"""Between two faults of one troublemaker; there are several, so faults come together too."""

SAID = 20
"""Verdicts of an edge before something happens to it: one that is killed while it starts would never get on."""

LASTS_S = (0.3, 6.0)
PULSE_S = (0.05, 0.4)
"""A link with delay lets bytes wait for so long again and again."""

JUMPS_S = (-86_400, -3_600, -5, 5, 3_600, 86_400)

Fault = Callable[[float], None]
"""Begins, lasts for so many seconds, and mends what it broke."""


@dataclass(frozen=True)
class Happened:
    """One fault: when it began, seconds from the run's beginning, to whom, which, and for how long it was meant."""

    at_s: float
    whom: str
    what: str
    lasts_s: float

    def __str__(self) -> str:
        return f"{self.at_s:.1f} s: {self.whom}: {self.what}, {self.lasts_s:.1f} s"


class Troubles:
    """All faults of a run. `over` ends them: each is mended first.

    Args:
        seed: of the order, the pauses and the lengths.
        over: set when no more are wanted.
    """

    def __init__(self, seed: int, over: threading.Event) -> None:
        self.happened: list[Happened] = []
        self.drained: list[int] = []
        """Exit codes of clouds that were told to drain."""
        self.tracebacks = 0
        """In the logs of clouds that were started again."""
        self.edge: EdgeProcess | None = None
        """The one that classifies now."""
        self._seed = seed
        self._over = over
        self._began = time.monotonic()

    @contextmanager
    def making(self, faults: Mapping[str, Mapping[str, Fault]], minutes: float) -> Iterator[None]:
        """Make these faults, by troublemaker, for so long or until one fails; at the end all are mended."""
        timer = threading.Timer(minutes * 60, self._over.set)
        timer.daemon = True
        timer.start()
        with ThreadPoolExecutor(len(faults)) as threads:
            made = [threads.submit(self._make, whom, kinds) for whom, kinds in faults.items()]
            for one in made:
                one.add_done_callback(lambda _: self._over.set())
            try:
                yield
            finally:
                timer.cancel()
                self._over.set()
        for one in made:
            one.result()

    def look_for_tracebacks(self, log: Path) -> None:
        """Count those in the log of a process that has ended, or is about to; show them."""
        text = log.read_text(errors="replace")
        self.tracebacks += text.count("Traceback")
        if "Traceback" in text:
            print(text[-4000:], file=sys.stderr)

    def _make(self, whom: str, faults: Mapping[str, Fault]) -> None:
        chance = random.Random(f"{self._seed} {whom}")  # noqa: S311  no secret
        while not self._over.wait(chance.uniform(*QUIET_S)):
            what, seconds = chance.choice(sorted(faults)), chance.uniform(*LASTS_S)
            self.happened.append(Happened(time.monotonic() - self._began, whom, what, seconds))
            faults[what](seconds)

    def of_cloud(self, cloud: CloudProcess, link: LinkProcess, log: Path) -> dict[str, Fault]:
        """What happens to a cloud and to the link in front."""

        def start_again(seconds: float) -> None:
            self._over.wait(seconds)
            self.look_for_tracebacks(log)
            cloud.restart()

        def kill(seconds: float) -> None:
            cloud.kill()
            start_again(seconds)

        def drain(seconds: float) -> None:
            cloud.process.terminate()
            self.drained.append(cloud.process.wait())
            start_again(seconds)

        def freeze(seconds: float) -> None:
            with _frozen(cloud):
                self._over.wait(seconds)

        def cut(how: CutKind) -> Fault:
            def cut_for(seconds: float) -> None:
                link.call(DelayProxy.cut, how)
                self._over.wait(seconds)
                link.call(DelayProxy.mend)

            return cut_for

        def delay(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                cut("stalled")(PULSE_S[1])
                self._over.wait(PULSE_S[0])

        cuts = {f"cut ({how})": cut(how) for how in CUTS}
        return {"kill": kill, "drain": drain, "freeze": freeze, "delay": delay, **cuts}

    def of_edge(self) -> dict[str, Fault]:
        """What happens to the edge process of the moment; the run starts one that was killed again."""

        def busy() -> EdgeProcess | None:
            edge = self.edge
            return edge if edge is not None and edge.wait_for_lines(SAID) else None

        def kill(seconds: float) -> None:
            if (edge := busy()) is not None:
                edge.process.kill()
            self._over.wait(seconds)

        def freeze(seconds: float) -> None:
            if (edge := busy()) is not None:
                with _frozen(edge):
                    self._over.wait(seconds)

        return {"kill": kill, "freeze": freeze}

    def of_disk(self, folder: Path) -> dict[str, Fault]:
        """The disk of the results and the logs is full."""

        def full(seconds: float) -> None:
            filler = fill(folder)
            self._over.wait(seconds)
            filler.unlink()

        return {"full": full}

    def of_clock(self, clock: WallClock) -> dict[str, Fault]:
        """The wall clock of all processes jumps, and later jumps back."""

        def jump(by: int) -> Fault:
            def jump_for(seconds: float) -> None:
                clock.jump(by)
                self._over.wait(seconds)
                clock.jump(0)

            return jump_for

        return {f"jump by {seconds:+d} s": jump(seconds) for seconds in JUMPS_S}


@contextmanager
def _frozen(held: CloudProcess | EdgeProcess) -> Iterator[None]:
    held.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        held.process.send_signal(signal.SIGCONT)
