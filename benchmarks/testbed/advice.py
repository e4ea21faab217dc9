"""Which bundle, threshold and lookahead to use on a link, from bundles at hand and a testbed's record.

The model of a sample's mean latency has few terms, so that one can see which of them decides:

    lockstep   t (head + 8 bytes / rate + rtt + tail) + c
    streaming  t max(head, 8 bytes / rate) + min(head, 8 bytes / rate) + rtt + tail + c     none waits for an answer

t is the mean timestep of the exit at that threshold, by the bundle's own evaluation; head and tail are dense operations
over measured speeds, c is what the rest takes (codec, gRPC, queue, waking up): the only term that is fitted, as the
median of what the measured profiles leave over. How wrong that is, is seen by leaving each profile out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, prod
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.testbed.attribution import radio_of
from benchmarks.testbed.schema import MeasuredLink, Testbed, TestbedRun
from shared.bundle import Bundle
from shared.energy import edge_cost, radio_joules
from shared.errors import ConfigError
from shared.exit_policy import NEVER
from shared.operations import Side, dense

FITTED_ON = "bottleneck-exit"
TESTED_ON = ("bottleneck-exit", "full")

Mode = Literal["lockstep", "streaming"]


@dataclass(frozen=True)
class Terms:
    """Of one timestep, in milliseconds and bytes; `down` is the answer."""

    head_ms: float
    tail_ms: float
    up_bytes: float
    down_bytes: float


@dataclass(frozen=True)
class LinkPath:
    """What a link does: its measured round trip, and its rates (None: as fast as need be)."""

    rtt_ms: float
    up_mbit: float | None
    down_mbit: float | None

    def sending_ms(self, up_bytes: float, down_bytes: float) -> float:
        """Of so many bytes each way."""
        return sum(
            size * 8 / (rate * 1e3) for size, rate in ((up_bytes, self.up_mbit), (down_bytes, self.down_mbit)) if rate
        )


@dataclass(frozen=True)
class Choice:
    """A way to run a bundle, and what it is predicted to give.

    Mean latency, bytes on the link both ways, accuracy in percent, points below the uncompressed network (below its own
    full T where that was not evaluated); modelled joules, None for a bundle that was never evaluated.
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


@dataclass(frozen=True)
class Miss:
    """A measured profile beside its prediction by a model that was fitted without it."""

    link: str
    alternative: str
    measured_ms: float
    predicted_ms: float

    @property
    def error(self) -> float:
        """Share of what was measured; positive: predicted too slow."""
        return self.predicted_ms / self.measured_ms - 1


@dataclass(frozen=True)
class Advice:
    """The best first; the misses of the model; the overhead c that was fitted."""

    link: str
    choices: tuple[Choice, ...]
    misses: tuple[Miss, ...]
    overhead_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "misses": [{**asdict(miss), "error": miss.error} for miss in self.misses]}


def latency_ms(mode: Mode, terms: Terms, path: LinkPath, steps: float, overhead_ms: float) -> float:
    """The formula above."""
    sending = path.sending_ms(terms.up_bytes, terms.down_bytes)
    if mode == "lockstep":
        return steps * (terms.head_ms + sending + path.rtt_ms + terms.tail_ms) + overhead_ms
    # What is sent beyond the exit holds nobody up: only frames up to it must get through.
    made = steps * max(terms.head_ms, sending)
    return made + min(terms.head_ms, sending) + path.rtt_ms + terms.tail_ms + overhead_ms


def trained_on(dataset: str, models: Path) -> list[Bundle]:
    """The bundles in a folder whose data set that was: others answer another question."""
    bundles = [Bundle.open(path.parent) for path in sorted(models.glob("*/manifest.json"))]
    return [bundle for bundle in bundles if bundle.manifest.provenance.get("data", {}).get("name") == dataset]


def advise(
    testbed: Testbed, bundles: Sequence[Bundle], link: str, budget_drop: float, edge_gmacs: float | None = None
) -> Advice:
    """Every choice within the accuracy budget, the fastest first.

    Args:
        testbed: measured links, speeds and overheads.
        bundles: those with an evaluation are looked at.
        link: of the record.
        budget_drop: points of accuracy below the uncompressed network.
        edge_gmacs: dense 1e9 operations a second of the edge; None: the record's main edge.

    Raises:
        ConfigError: no such link, nothing fitting in the record, or no bundle within the budget.
    """
    paths = {each.asked.name: _path(each) for each in testbed.links}
    if link not in paths:
        raise ConfigError(f"--link is {link}: the record has {', '.join(paths)}")
    overhead = _overhead(testbed, paths, without=None)
    choices = []
    best = -float("inf")
    for bundle in bundles:
        found = _choices(testbed, bundle, link, paths[link], edge_gmacs, overhead)
        choices += [choice for choice in found if choice.drop <= budget_drop]
        best = max([best, *(-choice.drop for choice in found)])
    if not choices:
        nearest = "none was evaluated" if best == -float("inf") else f"the nearest loses {-best:.2f} points"
        raise ConfigError(f"no bundle keeps within {budget_drop:g} points ({nearest}): allow more with --budget-drop")
    choices.sort(key=lambda choice: (choice.latency_ms, choice.link_bytes))
    return Advice(link, tuple(choices), tuple(_misses(testbed, paths)), overhead)


def _choices(
    testbed: Testbed, bundle: Bundle, link: str, path: LinkPath, edge_gmacs: float | None, overhead_ms: float
) -> list[Choice]:
    manifest = bundle.manifest
    test = bundle.settings.measured.get("test") or {}
    if manifest.network.bottleneck is None or "accuracy_by_timestep" not in test:
        return []
    uncompressed = test.get("uncompressed_accuracy_by_timestep")
    whole = 100 * (uncompressed or test["accuracy_by_timestep"])[-1]
    terms = _terms_of(testbed, bundle, edge_gmacs)
    total = manifest.network.timesteps
    found = []
    for threshold, steps, accuracy in _curve(test):
        for mode in ("lockstep", "streaming"):
            sent = steps if mode == "lockstep" else total
            latency = latency_ms(mode, terms, path, steps, overhead_ms)
            joules = _joules(bundle, link, terms, steps, sent, latency)
            found.append(
                Choice(
                    manifest.name, manifest.network.split, 32 * prod(manifest.split_shape) / prod(manifest.frame_shape),
                    threshold, 1 if mode == "lockstep" else total, mode, steps, latency,
                    sent * (terms.up_bytes + terms.down_bytes), 100 * accuracy, whole - 100 * accuracy,
                    "uncompressed" if uncompressed else "full T", *joules,
                )
            )  # fmt: skip
    return _undominated(found)


def _curve(test: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """(threshold, mean timestep, accuracy): of an evaluation without a curve its known points."""
    if "curve" in test:
        return [(point[0], point[1], point[2]) for point in test["curve"]]
    by_timestep = test["accuracy_by_timestep"]
    calibrated = [(test["threshold"], test["mean_timesteps"], test["accuracy_with_exit"])]
    if test["threshold"] == NEVER:
        calibrated = []
    return [(0.0, 1.0, by_timestep[0]), *calibrated, (1.0, float(len(by_timestep)), by_timestep[-1])]


def _undominated(choices: list[Choice]) -> list[Choice]:
    """Without those that another one beats in latency, bytes and accuracy, or equals at a higher threshold."""

    def costs(choice: Choice) -> tuple[float, float, float]:
        return choice.latency_ms, choice.link_bytes, choice.drop

    def beaten(one: Choice) -> bool:
        return any(
            costs(other) != costs(one) or other.threshold > one.threshold
            for other in choices
            if all(a <= b for a, b in zip(costs(other), costs(one), strict=True))
        )

    return [choice for choice in choices if not beaten(choice)]


def _terms_of(testbed: Testbed, bundle: Bundle, edge_gmacs: float | None) -> Terms:
    edge = next(edge for edge in testbed.edges if edge.asked.name == testbed.main[1])
    measured = testbed.networks.get("bottleneck")
    spec, gmacs = bundle.manifest.network, edge_gmacs or edge.gmacs
    up, down = _bytes_of_a_round(testbed)
    if measured is not None and measured.fingerprint == bundle.fingerprint.hex():
        return Terms(edge.head_ms * edge.gmacs / gmacs, testbed.cloud.tail_ms, up, down)
    sides: tuple[tuple[Side, float], ...] = (("edge", gmacs), ("cloud", testbed.cloud.gmacs))
    head, tail = (dense(spec, half) / (speed * 1e6) for half, speed in sides)
    payload = (bundle.settings.measured["test"]["frame"]["entropy_bits"]) / 8
    return Terms(head, tail, up - _payload_of_a_round(testbed) + payload, down)


def _fitted(testbed: Testbed, alternative: str) -> list[TestbedRun]:
    main = [run for run in testbed.runs if run.alternative == alternative and run.edge == testbed.main[1]]
    return [run for run in main if run.key in testbed.columns]


def _bytes_of_a_round(testbed: Testbed) -> tuple[float, float]:
    for run in _fitted(testbed, FITTED_ON):
        columns = testbed.columns[run.key]
        rounds = float(columns.timesteps.sum())
        up, down = float(columns.link_up_bytes.sum()) / rounds, float(columns.link_down_bytes.sum()) / rounds
        if isfinite(up + down):
            return up, down
    raise ConfigError(f"the record has no run of {FITTED_ON} with bytes on the link: run the testbed with it")


def _payload_of_a_round(testbed: Testbed) -> float:
    columns = testbed.columns[_fitted(testbed, FITTED_ON)[0].key]
    return float(columns.payload_bytes.sum()) / float(columns.timesteps.sum())


def _measured_terms(testbed: Testbed) -> Terms:
    edge = next(edge for edge in testbed.edges if edge.asked.name == testbed.main[1])
    return Terms(edge.head_ms, testbed.cloud.tail_ms, *_bytes_of_a_round(testbed))


def _overhead(testbed: Testbed, paths: dict[str, LinkPath], without: str | None) -> float:
    terms = _measured_terms(testbed)
    left = []
    for run in _fitted(testbed, FITTED_ON):
        if run.link in paths and run.link != without:
            columns = testbed.columns[run.key]
            steps = float(columns.timesteps.mean())
            predicted = latency_ms("lockstep", terms, paths[run.link], steps, 0.0)
            left.append(float(columns.latency_ms.mean()) - predicted)
    if not left:
        raise ConfigError(f"the record has too few runs of {FITTED_ON}: measure it over two links or more")
    return median(left)


def _misses(testbed: Testbed, paths: dict[str, LinkPath]) -> list[Miss]:
    terms = _measured_terms(testbed)
    links = {run.link for run in _fitted(testbed, FITTED_ON)}
    misses = []
    for alternative in TESTED_ON:
        for run in _fitted(testbed, alternative):
            if not links - {run.link}:
                continue
            overhead = _overhead(testbed, paths, without=run.link)
            columns = testbed.columns[run.key]
            steps = float(columns.timesteps.mean())
            modes: tuple[Mode, ...] = ("lockstep",) if alternative == FITTED_ON else ("lockstep", "streaming")
            predicted = min(latency_ms(mode, terms, paths[run.link], steps, overhead) for mode in modes)
            misses.append(Miss(run.link, alternative, float(columns.latency_ms.mean()), predicted))
    return misses


def _path(link: MeasuredLink) -> LinkPath:
    return LinkPath(
        link.asked.rtt_ms if link.rtt_ms is None else link.rtt_ms,
        link.asked.up_mbit if link.up_mbit is None else link.up_mbit,
        link.asked.down_mbit if link.down_mbit is None else link.down_mbit,
    )


def _joules(
    bundle: Bundle, link: str, terms: Terms, steps: float, sent: float, latency: float
) -> tuple[float | None, float | None]:
    cost = edge_cost(bundle)
    if cost is None:
        return None, None
    awake_s = max(latency - terms.head_ms, 0.0) / 1e3
    compute = cost.joules(sent)
    return compute, radio_joules(radio_of(link), terms.up_bytes * sent, terms.down_bytes * steps, awake_s)
