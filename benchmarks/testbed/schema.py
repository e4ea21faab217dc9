"""What a run of the testbed found, in types: `record.json` holds the summaries, `samples.npz` beside it each sample.

A `TestbedRun` is one alternative over one link from one edge. `samples_file.py` reads a record back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.alternative import Alternative, PictureCodec
from shared.exit_policy import Threshold
from shared.operations import Side

NORMAL_95 = 1.96
"""Standard errors on either side of a mean within which it lies in 95 % of cases."""

EDGE, CLOUD = 0, 1
"""Values of the column `answered_by`."""

SampleRow = dict[str, Any]
"""What an edge says of a sample, by the names of `Columns`."""

LinkMeans = Literal["cable", "netem", "tun", "loopback", "proxy", "real"]
"""cable: two network namespaces and nothing between them; netem, tun: shaped by the kernel or by our forwarder;
loopback: no link; proxy: a TCP proxy, in earlier records; real: whatever lies between this machine and --edge-host."""

EdgeMeans = Literal["as it is", "paced", "another machine"]
"""paced: it waits off what it computes (cpu_throttle.py)."""


@dataclass(frozen=True)
class FittedFile:
    """The lowest quality of a codec whose files are as accurate as the pair, on `samples` held-out pictures.

    `accuracy` is the files', beside the pair's. Where it is less than the pair's, no quality reaches it.
    """

    codec: PictureCodec
    quality: int
    accuracy: float
    pair_accuracy: float
    samples: int


@dataclass(frozen=True)
class WholeTest:
    """A bundle's own evaluation: accuracy with its exit and at full T over all `samples` of the test part.

    `uncompressed` is that of the network without a bottleneck at full T, run in the same execution.
    """

    accuracy: float
    full_t: float
    samples: int
    uncompressed: float | None = None


@dataclass(frozen=True)
class MeasuredLink:
    """A profile, what stood in for it, and what was measured over it: round trips (ms) and bulk TCP rates (Mbit/s).

    `counts_headers`: link bytes were counted at an interface, so IP and TCP headers are in them. None: not measured.
    """

    asked: LinkProfile
    means: LinkMeans
    counts_headers: bool
    rtt_ms: float | None = None
    rtt_p95_ms: float | None = None
    lost: float | None = None
    up_mbit: float | None = None
    down_mbit: float | None = None


@dataclass(frozen=True)
class EdgeProfile:
    """What was asked of an edge: a share of one core, and where it is from."""

    name: str
    share: float
    source: str


@dataclass(frozen=True)
class MeasuredEdge:
    """A profile, how it was held, and what was measured: a step of the head (with encoder) and of the whole network.

    `head_start_ms` is what the head costs once for each sample: in `rate` nearly all. Records of before it was measured
    have it divided over the timesteps, in `head_ms`. `gmacs` is the whole uncompressed network's multiply-accumulates
    (dense) a second, 1e9; `runtime` what ran it.
    """

    asked: EdgeProfile
    means: EdgeMeans
    head_ms: float
    whole_ms: float
    gmacs: float
    runtime: str
    head_start_ms: float = 0.0


@dataclass(frozen=True)
class MeasuredCloud:
    """What was measured of the cloud: a step of one sample, as `MeasuredEdge`."""

    tail_ms: float
    whole_ms: float
    gmacs: float
    threads: int
    precision: str


@dataclass(frozen=True)
class LayerOperations:
    """A layer with weights: its dense operations in one pass, and the share of its inputs that were not zero.

    `real_valued`: its input is the picture, once a sample; others see spikes, once a timestep. `half`: where it runs.
    """

    name: str
    half: Side
    dense: float
    input_rate: float
    real_valued: bool


@dataclass(frozen=True)
class LayerSpikes:
    """A layer of neurons: spikes per neuron and timestep, measured."""

    name: str
    half: Side
    shape: tuple[int, ...]
    spike_rate: float


@dataclass(frozen=True)
class MeasuredNetwork:
    """A bundle of the record, and what was measured of its network at full T over `samples` pictures.

    `local_exit_macs`: multiply-accumulates each time that the local exit is asked.
    """

    bundle: str
    fingerprint: str
    split: str
    timesteps: int
    split_shape: tuple[int, ...]
    frame_shape: tuple[int, ...]
    samples: int
    operations: tuple[LayerOperations, ...]
    spikes: tuple[LayerSpikes, ...]
    local_exit_macs: float = 0.0
    whole_test: WholeTest | None = None

    @property
    def edge_macs(self) -> float:
        """Multiply-accumulates of the edge's half, once for each picture."""
        return sum(layer.dense for layer in self.operations if layer.half == "edge" and layer.real_valued)

    def accumulates(self, half: Side) -> float:
        """Additions of a half in one timestep: dense operations times the measured rate of their inputs."""
        return sum(
            layer.dense * layer.input_rate for layer in self.operations if layer.half == half and not layer.real_valued
        )


@dataclass(frozen=True)
class Columns:
    """Each sample of a run, [n] unless said otherwise. NaN: not known.

    sample: its place in the data set's test part;  label, predicted: classes;  answered_by: EDGE or CLOUD;
    timesteps: at which it stopped;  head_steps: timesteps that the edge computed, those that nothing used included;
    payload_bytes: spikes, features or the picture's file;  message_bytes: the messages that carried them;
    link_up_bytes, link_down_bytes: on the link, as `MeasuredLink.counts_headers` says;
    latency_ms: from the sample's input to its verdict, and its parts, which add up to it. Clocks of two machines are
    never compared: what the cloud did not report is divided by the link's measured round trip and rates. Time in which
    several timesteps were under way is counted once: their parts are scaled to fit;
    link_up_packets, link_down_packets: of the same;
    macs, accumulates: operations on the edge;  compute_j: what an ideal chip spends on them, joules;  radio_j: what the
    radio of a phone spends; these two are never added;  busy_core_s: core-seconds that the edge computed, of an edge
    that is held to a share of a core those of the slower core;  board_compute_j, board_radio_j, board_idle_j: the
    board's, by shared/boards.py; its radio is known over Wi-Fi and where nothing is sent;  confidence: [n, T], of the
    answer at each timestep that was seen.
    """

    sample: NDArray[np.int32]
    label: NDArray[np.int16]
    predicted: NDArray[np.int16]
    answered_by: NDArray[np.int8]
    timesteps: NDArray[np.int16]
    head_steps: NDArray[np.int16]
    payload_bytes: NDArray[np.int32]
    message_bytes: NDArray[np.int32]
    link_up_bytes: NDArray[np.float32]
    link_down_bytes: NDArray[np.float32]
    latency_ms: NDArray[np.float32]
    head_ms: NDArray[np.float32]
    encode_ms: NDArray[np.float32]
    uplink_ms: NDArray[np.float32]
    queue_ms: NDArray[np.float32]
    tail_ms: NDArray[np.float32]
    downlink_ms: NDArray[np.float32]
    other_ms: NDArray[np.float32]
    macs: NDArray[np.float32]
    accumulates: NDArray[np.float32]
    compute_j: NDArray[np.float32]
    radio_j: NDArray[np.float32]
    link_up_packets: NDArray[np.float32]
    link_down_packets: NDArray[np.float32]
    busy_core_s: NDArray[np.float32]
    board_compute_j: NDArray[np.float32]
    board_radio_j: NDArray[np.float32]
    board_idle_j: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is the label."""
        return np.asarray(self.predicted == self.label)


PARTS = ("head_ms", "encode_ms", "uplink_ms", "queue_ms", "tail_ms", "downlink_ms", "other_ms")
"""The parts of `latency_ms`, in order of time."""

DTYPES: Mapping[str, str] = {
    **dict.fromkeys(("sample", "payload_bytes", "message_bytes"), "int32"),
    **dict.fromkeys(("label", "predicted", "timesteps", "head_steps"), "int16"),
    "answered_by": "int8",
}
"""Of the columns that are not float32."""


@dataclass(frozen=True)
class Figure:
    """One figure of a run: its percentiles over the samples, its mean, and a 95 % bootstrap interval.

    The interval is the median's for latencies, the mean's for all else. All None where nothing is known.
    """

    mean: float | None
    median: float | None
    p95: float | None
    p99: float | None
    low: float | None
    high: float | None


UNKNOWN = Figure(None, None, None, None, None, None)


@dataclass(frozen=True)
class TestbedRun:
    """One alternative over one link from one edge: names of `Testbed.alternatives`, `.links`, `.edges`.

    n: samples;  asked: how many were asked for, where there was no time for as many;  accuracy: its mean and interval;
    figures: by the names of columns, also link_bytes (both ways).
    """

    alternative: str
    link: str
    edge: str
    n: int
    asked: int
    seconds: float
    accuracy: Figure
    figures: Mapping[str, Figure]

    @property
    def key(self) -> str:
        """Its name in `samples.npz`."""
        return f"{self.alternative}@{self.link}@{self.edge}"

    def mean(self, name: str) -> float | None:
        """The mean of one of its figures; None where it is not known."""
        return self.figures.get(name, UNKNOWN).mean

    def median(self, name: str) -> float | None:
        """The median of one of its figures; None where it is not known."""
        return self.figures.get(name, UNKNOWN).median

    @property
    def dynamic_j(self) -> float | None:
        """What a sample adds to an idle board on average, computing and radio; None where one is not known."""
        return self._sum("board_compute_j", "board_radio_j")

    @property
    def total_j(self) -> float | None:
        """The same with the idle board for as long as the sample takes."""
        return self._sum("board_compute_j", "board_radio_j", "board_idle_j")

    def _sum(self, *names: str) -> float | None:
        parts = [self.mean(name) for name in names]
        return None if None in parts else sum(part or 0.0 for part in parts)


@dataclass(frozen=True)
class Drop:
    """Points of accuracy by which one run lies below another on the n pictures that both were given.

    low, high: 95 % of the mean of the paired differences, by its standard error.
    """

    points: float
    low: float
    high: float
    n: int

    @property
    def of(self) -> str:
        """How far to trust it, in words."""
        return f"of the {self.n:,} pictures that both classified, 95 %: {self.low:.1f} to {self.high:.1f} points"


@dataclass(frozen=True)
class Trace:
    """A picture to look at: uint8 [C, H, W], the spikes on the wire uint8 [T, C', H', W'], confidences [T, classes]."""

    sample: int
    label: int
    picture: NDArray[np.uint8]
    spikes: NDArray[np.uint8]
    confidences: NDArray[np.float32]


@dataclass(frozen=True)
class Testbed:
    """Everything of a record: `results` of record.json, and `samples.npz`.

    `main` is the (link, edge) on which the most samples were measured. `passed_over` says what there was no time for,
    and why. `energy` says what compute_j is. `board` is the one of board_*_j, "" in earlier records. `networks` are
    "bottleneck" and, if there
    was such a bundle, "uncompressed".
    """

    __test__ = False  # pytest would take its name for a test's

    dataset: str
    class_names: tuple[str, ...]
    main: tuple[str, str]
    threshold: Threshold
    alternatives: tuple[Alternative, ...]
    links: tuple[MeasuredLink, ...]
    edges: tuple[MeasuredEdge, ...]
    cloud: MeasuredCloud
    networks: Mapping[str, MeasuredNetwork]
    energy: str
    runs: tuple[TestbedRun, ...]
    passed_over: tuple[str, ...] = ()
    board: str = ""
    fitted: tuple[FittedFile, ...] = ()
    columns: Mapping[str, Columns] = field(default_factory=dict, repr=False)
    traces: tuple[Trace, ...] = field(default=(), repr=False)

    def run(self, alternative: str, link: str | None = None, edge: str | None = None) -> TestbedRun | None:
        """The run of an alternative, by default of the main profile; None if there is none."""
        of = (link or self.main[0], edge or self.main[1])
        return next((run for run in self.runs if run.alternative == alternative and (run.link, run.edge) == of), None)

    def main_runs(self) -> list[tuple[Alternative, TestbedRun]]:
        """Each alternative with its run on the main profile, or, where it needs no link, on any link."""
        found = []
        for alternative in self.alternatives:
            here = [run for run in self.runs if (run.alternative, run.edge) == (alternative.name, self.main[1])]
            main = [run for run in here if run.link == self.main[0]]
            if alternative.kind in ("edge", "fallback", "plain"):
                main += here
            found += [(alternative, run) for run in main[:1]]
        return found

    def drop(self, best: TestbedRun | None, other: TestbedRun | None) -> Drop | None:
        """By how much `other` lies below `best`; None where they have no picture in common."""
        if best is None or other is None:
            return None
        one, two = self.columns[best.key], self.columns[other.key]
        _, at, also = np.intersect1d(one.sample, two.sample, return_indices=True)
        if not len(at):
            return None
        lost = 100 * (one.right[at].astype(np.float64) - two.right[also])
        mean, spread = float(lost.mean()), NORMAL_95 * float(lost.std()) / len(at) ** 0.5
        return Drop(mean, mean - spread, mean + spread, len(at))


def to_results(testbed: Testbed) -> dict[str, Any]:
    """`results` of record.json."""
    results = asdict(replace(testbed, columns={}, traces=()))
    del results["columns"], results["traces"]
    return results
