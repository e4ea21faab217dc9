"""The energy of each sample: joules by the model of shared/energy.py, and by a meter where there is one."""

from __future__ import annotations

from typing import Protocol

from edge_client.inference.verdict import SampleEnergy, Verdict
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
    ) -> None:
        self._cost = edge_cost(bundle)
        self._radio = RADIOS[radio]
        self._local_exit_j = compute_joules(local_exit_macs(bundle.settings), 0.0)
        self._asks_first = asks_first
        self._meter = meter
        self._counted: float | None = None
        classes = bundle.manifest.network.classes
        asked = min(policy.confidences_asked(top_k), classes)
        confidences, named = (0.1,) * (asked or classes), tuple(range(asked))
        answer = StepResult(1 << 14, 1, confidences, named, queue_us=1 << 10, compute_us=1 << 10)
        self._answer_bytes = cloud_to_wire(answer).ByteSize() + FRAMING_BYTES + PACKET_BYTES

    def begin(self) -> None:
        """What the meter has counted until now belongs to no sample."""
        if self._meter is not None:
            self._counted = self._meter.joules()

    def charge(self, verdict: Verdict) -> SampleEnergy:
        """The energy of this sample. Call it in the order in which verdicts are reported."""
        return SampleEnergy(self._modelled(verdict), self._measured())

    def _modelled(self, verdict: Verdict) -> Modelled | None:
        if self._cost is None:
            return None
        asked = verdict.head_steps if verdict.answered_by == "edge" else int(self._asks_first)
        answers = len(verdict.steps)
        up = verdict.wire_bytes + PACKET_BYTES * answers
        return Modelled(
            self._cost.joules(verdict.head_steps) + asked * self._local_exit_j,
            radio_joules(self._radio, up, answers * self._answer_bytes, verdict.on_air_s),
        )

    def _measured(self) -> Measured | None:
        if self._meter is None:
            return None
        before, self._counted = self._counted, self._meter.joules()
        if before is None or self._counted is None:
            return None
        return Measured(self._counted - before, self._meter.kind)
