"""The energy of each sample: joules by the model of shared/energy.py, by a meter where there is one, and what this
process computed and sent, at the stated power of a board (shared/boards.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from edge_client.inference.verdict import SampleEnergy, Verdict
from shared.boards import Board, Time, Traffic
from shared.bundle import Bundle
from shared.energy import (
    RADIOS,
    Measured,
    Meter,
    Modelled,
    RadioName,
    compute_joules,
    edge_cost,
    local_exit_macs,
    radio_joules,
)
from shared.exit_policy import ExitPolicy
from shared.messages import StepResult
from shared.wire import FRAMING_BYTES, PACKET_BYTES, cloud_to_wire


class Joules(Protocol):
    """A meter as edge_client.output.power_meter.Sampled is one."""

    @property
    def kind(self) -> Meter:
        """Which kind of meter it is."""

    def joules(self) -> float | None:
        """Joules up to now; None once the meter cannot be read any more."""


class EnergyAccount:
    """Charges each verdict. Call `begin` when the first sample is asked for.

    Args:
        bundle: its measured firing rates stand for those of each sample.
        policy: that decides.
        top_k: classes that a verdict names; answers carry as many confidences as both need.
        radio: that carries the bytes.
        asks_first: the local exit is asked before anything is sent.
        meter: None if there is none.
        board: that this is, or is to be reckoned as; None if none was named.
        clock: seconds.
        busy: core-seconds that this process has computed, in all its threads.
    """

    def __init__(
        self,
        bundle: Bundle,
        policy: ExitPolicy,
        radio: RadioName,
        *,
        asks_first: bool,
        meter: Joules | None,
        top_k: int = 1,
        board: Board | None = None,
        clock: Callable[[], float] = time.perf_counter,
        busy: Callable[[], float] = time.process_time,
    ) -> None:
        self._cost = edge_cost(bundle)
        self._radio = RADIOS[radio]
        self._local_exit_j = compute_joules(local_exit_macs(bundle.settings), 0.0)
        self._asks_first = asks_first
        self._meter = meter
        self._counted: float | None = None
        self._board = board
        self._clock, self._busy = clock, busy
        self._since = clock(), busy()
        classes = bundle.manifest.network.classes
        asked = min(policy.confidences_asked(top_k), classes)
        confidences, named = (0.1,) * (asked or classes), tuple(range(asked))
        answer = StepResult(1 << 14, 1, confidences, named, queue_us=1 << 10, compute_us=1 << 10)
        self._answer_bytes = cloud_to_wire(answer).ByteSize() + FRAMING_BYTES + PACKET_BYTES

    def begin(self) -> None:
        """What was counted until now belongs to no sample."""
        self._since = self._clock(), self._busy()
        if self._meter is not None:
            self._counted = self._meter.joules()

    def charge(self, verdict: Verdict) -> SampleEnergy:
        """The energy of this sample. Call it in the order in which verdicts are reported."""
        time, traffic = self._time(), self._traffic(verdict)
        board = None if self._board is None else self._board.spend(time, traffic)
        return SampleEnergy(self._modelled(verdict, traffic), self._measured(), time, traffic, board)

    def _time(self) -> Time:
        (began, busy), self._since = self._since, (self._clock(), self._busy())
        return Time(self._since[0] - began, self._since[1] - busy)

    def _traffic(self, verdict: Verdict) -> Traffic:
        """By the messages of the sample: each is a packet, and what it is answered with acknowledges it."""
        return Traffic(
            verdict.wire_bytes + PACKET_BYTES * verdict.answers,
            verdict.frames_sent,
            verdict.answers * self._answer_bytes,
            verdict.answers,
        )

    def _modelled(self, verdict: Verdict, traffic: Traffic) -> Modelled | None:
        if self._cost is None:
            return None
        asked = verdict.head_steps if verdict.answered_by == "edge" else int(self._asks_first)
        return Modelled(
            self._cost.joules(verdict.head_steps) + asked * self._local_exit_j,
            radio_joules(self._radio, traffic.sent_bytes, traffic.received_bytes, verdict.on_air_s),
        )

    def _measured(self) -> Measured | None:
        if self._meter is None:
            return None
        before, self._counted = self._counted, self._meter.joules()
        if before is None or self._counted is None:
            return None
        return Measured(self._counted - before, self._meter.kind)
