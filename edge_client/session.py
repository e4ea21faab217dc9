"""A run over a source: classifies its samples, some at once, counts them, and reports them in the source's order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from edge_client.inference.co_inference import CoInference, LocalExitReason
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.base import Item, Source, Still, Unreadable
from edge_client.inputs.images import encoded_sizes
from edge_client.inputs.reader_thread import ReaderThread
from edge_client.output.energy import EnergyAccount
from edge_client.output.report import Report, StatusLine
from edge_client.output.results_file import ResultsFile
from edge_client.output.summary import Classified
from shared.errors import SampleRejected, WireError
from shared.messages import RejectionCode
from shared.metrics import Metrics, Reading

UnderWay = deque[tuple[Item, "asyncio.Task[Verdict | None]"]]
"""What was read and is not reported yet, in the source's order."""

KEPT = 20_000
"""The summary covers this many verdicts, the last ones: a run may go on for months."""


class Session:
    """A run: what was classified, what went wrong, and where both are reported.

    `done` are the last verdicts, `forgotten` counts those before. `seconds` is from asking for the first sample to the
    end of the last one so far.

    Args:
        report: gets each sample.
        status: the line on standard error.
        metrics: of the table EDGE_METRICS, which know the bundle.
        classes: what the label `class` says for each class, see `shared.metrics.class_labels`.
        picture_sizes: compare with the same pictures as PNG, JPEG and WebP.
        results: the file that each verdict is appended to.
        energy: charges each verdict.
        on_link: called with True when a stream is open, and with False when it is lost.
        clock: seconds.
    """

    def __init__(
        self,
        report: Report,
        status: StatusLine,
        metrics: Metrics,
        *,
        classes: Sequence[str],
        picture_sizes: bool,
        results: ResultsFile | None = None,
        energy: EnergyAccount | None = None,
        on_link: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.done: deque[Classified] = deque(maxlen=KEPT)
        self.forgotten = 0
        self.failed = 0
        self.unreadable = 0
        self.still = 0
        self.reconnects = 0
        self.seconds = 0.0
        self._clock = clock
        self._report = report
        self._status = status
        self._metrics = metrics
        self._classes = classes
        self._picture_sizes = picture_sizes
        self._results = results
        self._energy = energy
        self._on_link = on_link
        self._connected_before = False

    async def classify_all(self, source: Source, network: CoInference, in_flight: int = 1) -> None:
        """Every sample of a source, at most `in_flight` at once, reported in the source's order.

        One more is read meanwhile, where the source says so. A verdict is reported as soon as it is there; it does not
        wait for the next sample.

        Raises:
            CloudUnavailable, CloudRefused: there is no cloud, and the loss policy ends the run.
            SourceError: the source cannot go on.
            OutputError: a verdict cannot be written.
        """
        began = self._clock()
        if self._energy is not None:
            self._energy.begin()
        reader = ReaderThread(source)
        reading: asyncio.Task[Item | None] | None = None
        ended = False
        under_way: UnderWay = deque()
        try:
            while not ended or under_way:
                if reading is None and not ended and (source.read_ahead or len(under_way) < in_flight):
                    reading = asyncio.create_task(reader.next())
                if reading is not None and reading.done() and len(under_way) < in_flight:
                    item, reading = reading.result(), None
                    if item is None:
                        ended = True
                    else:
                        under_way.append((item, asyncio.create_task(_outcome(item, network))))
                        # The sample begins before the next one is read.
                        await asyncio.sleep(0)
                    continue
                waiting: set[asyncio.Task[Any]] = {task for _, task in list(under_way)[:1]}
                if reading is not None and (not reading.done() or len(under_way) < in_flight):
                    waiting.add(reading)
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if under_way and under_way[0][1].done():
                    self._report_outcome(*under_way.popleft())
                    self._advance(began)
        finally:
            if reading is not None:
                reading.cancel()
            reader.close()
            await self._abandon(under_way, began)

    def rejected(self, code: RejectionCode) -> None:
        """Count a rejection."""
        self._metrics.count("neucodex_edge_rejections_total", reason=code.name.lower())

    def local_exit_used(self, reason: LocalExitReason) -> None:
        """Count a verdict of the local exit."""
        self._metrics.count("neucodex_edge_local_answers_total", reason=reason)

    def link_changed(self, connected: bool) -> None:
        """Show whether a stream is open, and count the streams after the first."""
        self._on_link(connected)
        self._metrics.set("neucodex_edge_connected", 1 if connected else 0)
        if connected and self._connected_before:
            self.reconnects += 1
            self._metrics.count("neucodex_edge_reconnects_total")
        self._connected_before = self._connected_before or connected

    def _report_outcome(self, item: Item, task: asyncio.Task[Verdict | None]) -> None:
        try:
            verdict = task.result()
        except (SampleRejected, WireError) as error:
            assert isinstance(item, Sample)
            self._fail(item, str(error))
            return
        if isinstance(item, Unreadable):
            self._skip(item)
            return
        if isinstance(item, Still):
            self._leave_still(item)
            return
        assert verdict is not None
        self._classified(item, verdict)

    def _classified(self, sample: Sample, verdict: Verdict) -> None:
        if self._energy is not None:
            verdict = replace(verdict, energy=self._energy.charge(verdict))
        if self._results is not None:
            self._results.write(sample, verdict)
        self._metrics.record(readings(verdict, self._classes[verdict.prediction]))
        sizes = encoded_sizes(sample.pixels) if self._picture_sizes else None
        self.forgotten += len(self.done) == KEPT
        self.done.append(Classified(sample.label, verdict, sizes))
        self._report.classified(sample, verdict)

    def _fail(self, sample: Sample, reason: str) -> None:
        self.failed += 1
        self._metrics.count("neucodex_edge_samples_total", outcome="failed")
        self._status.say(f"failed: {reason}")
        self._report.failed(sample, reason)

    async def _abandon(self, under_way: UnderWay, began: float) -> None:
        """The run is over: end the samples in flight. Verdicts that are there already are reported."""
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
        for item, task in under_way:
            if not task.cancelled() and task.exception() is None:
                self._report_outcome(item, task)
                self._advance(began)

    def _advance(self, began: float) -> None:
        self.seconds = self._clock() - began
        self._status.advance()

    def _leave_still(self, item: Still) -> None:
        self.still += 1
        self._metrics.count("neucodex_edge_samples_total", outcome="still")
        self._report.still(item)

    def _skip(self, item: Unreadable) -> None:
        self.unreadable += 1
        self._metrics.count("neucodex_edge_samples_total", outcome="unreadable")
        self._status.say(f"skipped: {item.name}: {item.reason}")
        self._report.unreadable(item)


async def _outcome(item: Item, network: CoInference) -> Verdict | None:
    return await network.classify(item) if isinstance(item, Sample) else None


def readings(verdict: Verdict, predicted: str) -> list[Reading]:
    """What a verdict adds to the metrics of shared.metrics.EDGE_METRICS; `predicted` is its class as a label."""
    found: list[Reading] = []
    for step in verdict.steps:
        found += [
            ("neucodex_edge_stage_seconds", step.head_s, {"stage": "head"}),
            ("neucodex_edge_stage_seconds", step.encode_s, {"stage": "encode"}),
            ("neucodex_edge_stage_seconds", step.send_to_result_s, {"stage": "send_to_result"}),
            ("neucodex_edge_stage_seconds", step.queue_s, {"stage": "queue"}),
            ("neucodex_edge_stage_seconds", step.tail_s, {"stage": "tail"}),
        ]
    found += [
        ("neucodex_edge_sample_seconds", verdict.latency_s, {}),
        ("neucodex_edge_exit_timestep", verdict.timesteps, {}),
        ("neucodex_edge_payload_bytes", verdict.payload_bytes, {}),
        ("neucodex_edge_wire_bytes", verdict.wire_bytes, {}),
        ("neucodex_edge_samples_total", 1, {"outcome": verdict.answered_by}),
        ("neucodex_edge_predictions_total", 1, {"class": predicted}),
        ("neucodex_edge_confidence", verdict.confidence, {}),
    ]
    if verdict.energy is None:
        return found
    spent, traffic = verdict.energy.time, verdict.energy.traffic
    found += [
        ("neucodex_edge_busy_core_seconds_total", spent.busy_core_s, {}),
        ("neucodex_edge_sampled_seconds_total", spent.seconds, {}),
        ("neucodex_edge_packets_total", traffic.sent_packets, {"way": "sent"}),
        ("neucodex_edge_packets_total", traffic.received_packets, {"way": "received"}),
    ]
    if (modelled := verdict.energy.modelled) is not None:
        found += [
            ("neucodex_edge_modelled_joules_total", modelled.compute_j, {"part": "compute"}),
            ("neucodex_edge_modelled_joules_total", modelled.radio_j, {"part": "radio"}),
        ]
    if (measured := verdict.energy.measured) is not None:
        found.append(("neucodex_edge_measured_joules_total", measured.joules, {"meter": measured.meter}))
    if (board := verdict.energy.board) is not None:
        found += [
            ("neucodex_edge_board_joules_total", board.compute_j, {"part": "compute"}),
            ("neucodex_edge_board_joules_total", board.radio_j, {"part": "radio"}),
            ("neucodex_edge_board_joules_total", board.idle_j, {"part": "idle"}),
        ]
    return found
