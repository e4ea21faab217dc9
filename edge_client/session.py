"""The samples of a run, one after the other: classified, counted, reported."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_client.co_inference import CoInference
from edge_client.pictures import encoded_sizes
from edge_client.report import Notes, Report
from edge_client.sources import Sample, Source, Unreadable
from edge_client.summary import Classified
from edge_client.verdict import Verdict
from shared.errors import SampleRejected, WireError
from shared.messages import RejectionCode
from shared.metrics import Metrics


class Session:
    """The state of a run: what was classified, what went wrong, and who is told.

    `seconds` is the time from asking for the first sample to the end of the last one so far.
    """

    def __init__(
        self,
        report: Report,
        notes: Notes,
        metrics: Metrics,
        *,
        picture_sizes: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.done: list[Classified] = []
        self.failed = 0
        self.unreadable = 0
        self.seconds = 0.0
        self._clock = clock
        self._report = report
        self._notes = notes
        self._metrics = metrics
        self._picture_sizes = picture_sizes

    async def classify_all(self, source: Source, network: CoInference) -> None:
        """Every sample of a source, one after the other.

        Raises:
            CloudUnavailable, CloudRefused: the link is lost.
            SourceError: the source cannot go on.
        """
        began = self._clock()
        for item in source:
            if isinstance(item, Unreadable):
                self._skip(item)
            else:
                await self._classify(item, network)
            self.seconds = self._clock() - began
            self._notes.advance()

    def rejected(self, code: RejectionCode) -> None:
        """Count a rejection."""
        self._metrics.count("neucodex_edge_rejections_total", reason=code.name.lower())

    async def _classify(self, sample: Sample, network: CoInference) -> None:
        try:
            verdict = await network.classify(sample)
        except (SampleRejected, WireError) as error:
            self.failed += 1
            self._metrics.count("neucodex_edge_samples_total", outcome="failed")
            self._notes.say(f"failed: {error}")
            self._report.failed(sample, str(error))
            return
        observe(self._metrics, verdict)
        sizes = encoded_sizes(sample.frames) if self._picture_sizes else None
        self.done.append(Classified(sample.label, verdict, sizes))
        self._report.classified(sample, verdict)

    def _skip(self, item: Unreadable) -> None:
        self.unreadable += 1
        self._metrics.count("neucodex_edge_samples_total", outcome="unreadable")
        self._notes.say(f"skipped: {item.name}: {item.reason}")
        self._report.unreadable(item)


def observe(metrics: Metrics, verdict: Verdict) -> None:
    """Enter a verdict into the metrics of shared.metrics.EDGE_METRICS."""
    for step in verdict.steps:
        metrics.observe("neucodex_edge_stage_seconds", step.head_s, stage="head")
        metrics.observe("neucodex_edge_stage_seconds", step.encode_s, stage="encode")
        metrics.observe("neucodex_edge_stage_seconds", step.send_to_result_s, stage="send_to_result")
        metrics.observe("neucodex_edge_stage_seconds", step.queue_s, stage="queue")
        metrics.observe("neucodex_edge_stage_seconds", step.tail_s, stage="tail")
    metrics.observe("neucodex_edge_sample_seconds", verdict.latency_s)
    metrics.observe("neucodex_edge_exit_timestep", verdict.timesteps)
    metrics.observe("neucodex_edge_payload_bytes", verdict.payload_bytes)
    metrics.count("neucodex_edge_samples_total", outcome=verdict.answered_by)
