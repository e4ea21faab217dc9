"""Which bundle, threshold and lookahead to use on a link, from bundles at hand and a testbed's record.

The model of a sample's mean latency has few terms, so that one can see which of them decides:

    lockstep   s + t (head + 8 bytes / rate + rtt + tail) + c
    streaming  s + t max(head, 8 bytes / rate) + min(head, 8 bytes / rate) + rtt + tail + c     none waits for an answer

s is what the head computes once for a sample (in `rate` all), head what it computes each timestep; t is the mean
timestep of the exit at that threshold, by the bundle's own evaluation; head and tail are dense operations over measured
speeds, c is what the rest takes (codec, gRPC, queue, waking up): the only term that is fitted, as the median of what
the measured profiles leave over. How wrong that is, is seen by leaving each profile out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from statistics import median
from typing import Literal, get_args

from benchmarks.testbed.attribution import radio_of
from benchmarks.testbed.schema import Columns, MeasuredEdge, MeasuredLink, Testbed
from shared.boards import SILENT, Board, Time, Traffic, boards
from shared.bundle import Bundle
from shared.energy import edge_cost, radio_joules
from shared.errors import ConfigError
from shared.network_spec import FLOAT_BITS
from shared.operations import dense

Mode = Literal["lockstep", "streaming"]

OF_PEAK = 0.75
"""Of a core's peak that convolutions reach by onnxruntime: the edge `pi` of the first record did 4.5 of 6 GMAC/s."""

FITTED_ON = "bottleneck-exit"
MODES_OF: Mapping[str, tuple[Mode, ...]] = {FITTED_ON: ("lockstep",), "full": ("lockstep", "streaming")}
"""Alternatives that the model is tested on, and how the pair may run in them."""


@dataclass(frozen=True)
class Terms:
    """Of one timestep, in milliseconds and bytes; `down` is the answer; `start_ms` is the head's once a sample."""

    head_ms: float
    tail_ms: float
    up_bytes: float
    down_bytes: float
    start_ms: float = 0.0


@dataclass(frozen=True)
class LinkPath:
    """What a link does: its measured round trip, and its rates (None: as fast as need be)."""

    rtt_ms: float
    up_mbit: float | None
    down_mbit: float | None

    @classmethod
    def of(cls, link: MeasuredLink) -> LinkPath:
        """As measured; as asked where it was not measured."""
        names = ("rtt_ms", "up_mbit", "down_mbit")
        measured = {name: getattr(link, name) for name in names}
        return cls(*(getattr(link.asked, name) if value is None else value for name, value in measured.items()))

    def sending_ms(self, up_bytes: float, down_bytes: float) -> float:
        """Of so many bytes each way."""
        ways = ((up_bytes, self.up_mbit), (down_bytes, self.down_mbit))
        return sum(size * 8 / (rate * 1e3) for size, rate in ways if rate)


@dataclass(frozen=True)
class Choice:
    """A way to run a bundle, and what it is predicted to give.

    Mean latency, bytes on the link both ways, accuracy in percent, points below the uncompressed network (below its own
    full T where that was not evaluated); joules of an ideal chip and of a phone's radio, None for a bundle that was
    never evaluated; what the sample adds to the board that was named, its radio over Wi-Fi alone.
    """

    bundle: str
    split: str
    ratio: float
    threshold: float
    lookahead: int
    mode: Mode
    timesteps: float
    latency_ms: float
    link_bytes: float
    accuracy: float
    drop: float
    drop_from: Literal["uncompressed", "full T"]
    compute_j: float | None
    radio_j: float | None
    board_dynamic_j: float | None


@dataclass(frozen=True)
class Miss:
    """A measured profile beside its prediction by a model that was fitted without it.

    `error` is a share of what was measured; positive: predicted too slow.
    """

    link: str
    alternative: str
    measured_ms: float
    predicted_ms: float
    error: float


@dataclass(frozen=True)
class Advice:
    """The best first; the misses of the model; the overhead c that was fitted."""

    link: str
    choices: tuple[Choice, ...]
    misses: tuple[Miss, ...]
    overhead_ms: float
    board: str | None = None


def latency_ms(mode: Mode, terms: Terms, path: LinkPath, steps: float, overhead_ms: float) -> float:
    """The formula above."""
    sending, once_ms = path.sending_ms(terms.up_bytes, terms.down_bytes), terms.start_ms + overhead_ms
    if mode == "lockstep":
        return steps * (terms.head_ms + sending + path.rtt_ms + terms.tail_ms) + once_ms
    # What is sent beyond the exit holds nobody up: only frames up to it must get through.
    made = steps * max(terms.head_ms, sending)
    return made + min(terms.head_ms, sending) + path.rtt_ms + terms.tail_ms + once_ms


def trained_on(dataset: str, models: Path) -> list[Bundle]:
    """The bundles in a folder whose data set that was: others answer another question."""
    bundles = [Bundle.open(path.parent) for path in sorted(models.glob("*/manifest.json"))]
    return [bundle for bundle in bundles if bundle.manifest.provenance.get("data", {}).get("name") == dataset]


def advise(
    testbed: Testbed,
    bundles: Sequence[Bundle],
    link: str,
    budget_drop: float,
    edge_gmacs: float | None = None,
    board: str | None = None,
) -> Advice:
    """Every choice within the accuracy budget, the fastest first.

    Args:
        testbed: measured links, speeds and overheads.
        bundles: those with an evaluation at every threshold are looked at.
        link: of the record.
        budget_drop: points of accuracy below the uncompressed network.
        edge_gmacs: dense 1e9 operations a second of the edge; None: what a core of the board is good for, or without a
            board the record's main edge.
        board: a name of shared/boards.json, whose joules are predicted.

    Raises:
        ConfigError: no such link, nothing fitting in the record, or no bundle within the budget.
    """
    model = _Model(testbed)
    if link not in model.paths:
        raise ConfigError(f"--link is {link}: the record has {', '.join(model.paths)}")
    overhead = model.overhead_ms()
    known = None if board is None else boards()[board]
    if known is not None and edge_gmacs is None:
        edge_gmacs = OF_PEAK * known.peak_gmacs.value
    found = [choice for bundle in bundles for choice in _choices(model, bundle, link, edge_gmacs, overhead, known)]
    within = [choice for choice in found if choice.drop <= budget_drop]
    if not within:
        least = min((choice.drop for choice in found), default=None)
        nearest = "none was evaluated" if least is None else f"the nearest loses {least:.2f} points"
        raise ConfigError(f"no bundle keeps within {budget_drop:g} points ({nearest}): allow more with --budget-drop")
    within.sort(key=lambda choice: (choice.latency_ms, choice.link_bytes))
    return Advice(link, tuple(within), tuple(model.misses()), overhead, board)


class _Model:
    """A record's main edge, its links, and its runs of the pair from that edge."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.paths = {link.asked.name: LinkPath.of(link) for link in testbed.links}
        self.edge: MeasuredEdge = next(edge for edge in testbed.edges if edge.asked.name == testbed.main[1])
        self._runs: dict[str, list[tuple[str, Columns]]] = {
            alternative: [
                (run.link, testbed.columns[run.key])
                for run in testbed.runs
                if run.alternative == alternative and run.edge == testbed.main[1]
            ]
            for alternative in MODES_OF
        }
        rounds = [
            each for _, each in self._runs[FITTED_ON] if isfinite((each.link_up_bytes + each.link_down_bytes).sum())
        ]
        if not rounds:
            raise ConfigError(f"the record has no run of {FITTED_ON} with bytes on the link: run the testbed with it")
        up, down, payload = (
            float(column.sum() / rounds[0].timesteps.sum())
            for column in (rounds[0].link_up_bytes, rounds[0].link_down_bytes, rounds[0].payload_bytes)
        )
        self.measured = Terms(self.edge.head_ms, testbed.cloud.tail_ms, up, down, self.edge.head_start_ms)
        self._beside_payload = up - payload
        steps = rounds[0].timesteps.sum()
        packets = (float(c.sum() / steps) for c in (rounds[0].link_up_packets, rounds[0].link_down_packets))
        # A message and an acknowledgement, where a record of before packets were counted does not say.
        self._packets = tuple(each if isfinite(each) else 2.0 for each in packets)
        head_s = (len(rounds[0]) * self.edge.head_start_ms + steps * self.edge.head_ms) / 1e3
        beside = float(rounds[0].busy_core_s.sum() - head_s) / len(rounds[0])
        self._beside_head_s = max(beside, 0.0) if isfinite(beside) else 0.0

    def terms(self, bundle: Bundle, edge_gmacs: float | None) -> Terms:
        """Of a bundle on an edge of that speed: measured for the record's own bundle, else by its operations."""
        spec, gmacs = bundle.manifest.network, edge_gmacs or self.edge.gmacs
        known, measured = self.testbed.networks.get("bottleneck"), self.measured
        if known is not None and known.fingerprint == bundle.fingerprint.hex():
            slower = self.edge.gmacs / gmacs
            return replace(measured, head_ms=measured.head_ms * slower, start_ms=measured.start_ms * slower)
        payload = bundle.settings.measured["test"]["frame"]["entropy_bits"] / 8
        head_ms, tail_ms = dense(spec, "edge") / (gmacs * 1e6), dense(spec, "cloud") / (self.testbed.cloud.gmacs * 1e6)
        once = bundle.execution == "rate"  # the head runs once, and the neurons that step cost next to nothing
        step_ms, start_ms = (0.0, head_ms) if once else (head_ms, 0.0)
        return Terms(step_ms, tail_ms, self._beside_payload + payload, measured.down_bytes, start_ms)

    def board_joules(self, board: Board, terms: Terms, gmacs: float, sent: float, answered: float, link: str) -> float:
        """What a sample adds to an idle board: `sent` timesteps computed and sent, `answered` of them answered."""
        busy_s = (terms.start_ms + sent * terms.head_ms) / 1e3 + self._beside_head_s * self.edge.gmacs / gmacs
        up, down = self._packets
        traffic = Traffic(terms.up_bytes * sent, up * sent, terms.down_bytes * answered, down * answered)
        return board.spend(Time(0.0, busy_s), traffic if link == "wifi" else SILENT).dynamic_j

    def overhead_ms(self, without: str | None = None) -> float:
        """The fitted c; `without` leaves one link's profile out."""
        left = [
            float(columns.latency_ms.mean())
            - latency_ms("lockstep", self.measured, self.paths[link], float(columns.timesteps.mean()), 0.0)
            for link, columns in self._runs[FITTED_ON]
            if link != without
        ]
        if not left:
            raise ConfigError(f"the record has too few runs of {FITTED_ON}: measure it over two links or more")
        return median(left)

    def misses(self) -> list[Miss]:
        """Each profile, predicted by a fit without it; none where there is one link only."""
        found = []
        for alternative, modes in MODES_OF.items():
            for link, columns in self._runs[alternative]:
                if any(other != link for other, _ in self._runs[FITTED_ON]):
                    steps, overhead = float(columns.timesteps.mean()), self.overhead_ms(without=link)
                    predicted = min(
                        latency_ms(mode, self.measured, self.paths[link], steps, overhead) for mode in modes
                    )
                    measured = float(columns.latency_ms.mean())
                    found.append(Miss(link, alternative, measured, predicted, predicted / measured - 1))
        return found


def _choices(
    model: _Model,
    bundle: Bundle,
    link: str,
    edge_gmacs: float | None,
    overhead_ms: float,
    board: Board | None,
) -> list[Choice]:
    manifest, test = bundle.manifest, bundle.settings.measured.get("test") or {}
    if manifest.network.bottleneck is None or "curve" not in test:
        return []
    uncompressed = test.get("uncompressed_accuracy_by_timestep")
    whole = 100 * (uncompressed or test["accuracy_by_timestep"])[-1]
    terms, total = model.terms(bundle, edge_gmacs), manifest.network.timesteps
    cost, modes = edge_cost(bundle), get_args(Mode)
    found = []
    for threshold, steps, accuracy in (point[:3] for point in test["curve"]):
        for mode, sent in zip(modes, (steps, total), strict=True):
            latency = latency_ms(mode, terms, model.paths[link], steps, overhead_ms)
            awake_s = max(latency - terms.head_ms, 0.0) / 1e3
            radio = radio_joules(radio_of(link), terms.up_bytes * sent, terms.down_bytes * steps, awake_s)
            gmacs = edge_gmacs or model.edge.gmacs
            spent = None if board is None else model.board_joules(board, terms, gmacs, sent, steps, link)
            found.append(
                Choice(
                    bundle=manifest.name,
                    split=manifest.network.split,
                    ratio=FLOAT_BITS * prod(manifest.split_shape) / prod(manifest.frame_shape),
                    threshold=threshold,
                    lookahead=1 if mode == "lockstep" else total,
                    mode=mode,
                    timesteps=steps,
                    latency_ms=latency,
                    link_bytes=sent * (terms.up_bytes + terms.down_bytes),
                    accuracy=100 * accuracy,
                    drop=whole - 100 * accuracy,
                    drop_from="uncompressed" if uncompressed else "full T",
                    compute_j=None if cost is None else cost.joules(sent),
                    radio_j=None if cost is None else radio,
                    board_dynamic_j=spent,
                )
            )
    return [choice for choice in found if not any(_beats(other, choice) for other in found)]


def _beats(other: Choice, one: Choice) -> bool:
    """Whether another is as good in latency, bytes and accuracy, and better in one or equal at a higher threshold."""
    costs, others = ((each.latency_ms, each.link_bytes, each.drop) for each in (one, other))
    as_good = all(theirs <= ours for theirs, ours in zip(others, costs, strict=True))
    return as_good and (others != costs or other.threshold > one.threshold)
