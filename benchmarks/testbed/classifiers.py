"""What the edge does with a sample, for each kind of alternative: one row of the record's columns comes of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.echo import ByteStream
from benchmarks.edge.base import edge_config
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.cpu_throttle import CpuThrottle, ThrottledHead
from benchmarks.testbed.picture_files import encode
from benchmarks.testbed.picture_server import LARGE_MESSAGES, METHOD, read_answer, request_features, request_picture
from benchmarks.testbed.plain_classifiers import PlainOnEdge, PlainOverHttp
from benchmarks.testbed.schema import CLOUD, EDGE, SampleRow
from benchmarks.testbed.whole_network import WholeNetwork
from edge_client.build import open_edge
from edge_client.heads.factory import open_head
from edge_client.heads.local_exit import open_local_exit
from edge_client.inference.sample import Sample
from shared.bundle import Bundle
from shared.errors import ConfigError

LONGEST_S = 600.0
"""For one sample: float32 features over a link of 50 kbit/s take 42 s each timestep."""


class SampleClassifier(Protocol):
    """Classifies one sample after the other."""

    async def classify(self, sample: Sample) -> SampleRow:
        """The columns of a sample but its label and what is counted outside; latency and its parts in ms.

        What the network did not report stands under `transit_ms`, both ways together; under `on_air_ms` the time from
        the first byte sent to the verdict, under `local_exits` how often the local exit was asked.
        """


@contextlib.asynccontextmanager
async def open_classifier(
    alternative: Alternative,
    bundle: Bundle,
    cloud: str,
    throttle: CpuThrottle,
    threads: int,
    whole: WholeNetwork | None,
    plain: Path | None = None,
) -> AsyncIterator[SampleClassifier]:
    """An alternative, connected.

    Args:
        alternative: what is done.
        bundle: of its network.
        cloud: HOST:PORT of `neucodex-cloud`, of the picture server for pictures and float32, of the rival for http.
        throttle: the edge's.
        threads: of the edge's operations.
        whole: the network, for "edge".
        plain: the folder with the plain network's graphs, for "plain".

    Raises:
        ConfigError: the bundle lacks what it needs.
        CloudUnavailable, CloudRefused: there is no cloud at that address.
    """

    def head() -> ThrottledHead:
        return ThrottledHead(open_head(bundle, threads=threads), throttle)

    if alternative.kind == "edge":
        assert whole is not None
        yield EdgeOnly(whole, alternative.early_exit, throttle)
    elif alternative.kind == "fallback":
        yield Fallback(bundle, head())
    elif alternative.kind == "plain":
        assert plain is not None
        yield PlainOnEdge(plain, alternative, throttle, threads)
    elif alternative.kind == "http":
        with contextlib.closing(PlainOverHttp(cloud, alternative, throttle)) as by_http:
            yield by_http
    elif alternative.kind == "pair":
        config = edge_config(
            bundle,
            cloud,
            full_t=not alternative.early_exit,
            lookahead=alternative.lookahead or 1,
            local_exit=alternative.local_first,
            sample_deadline_s=LONGEST_S,
        )
        throttled = head()
        async with open_edge(config, bundle, head=throttled) as network:
            yield PairClassifier(network.classify, throttled, local_first=alternative.local_first)
    else:
        async with contextlib.aclosing(ByteStream(cloud, METHOD, *LARGE_MESSAGES)) as stream:
            is_picture = alternative.kind == "picture"
            yield PictureClassifier(stream, alternative, throttle) if is_picture else Float32(stream, head(), bundle)


@dataclass
class EdgeOnly:
    """The whole network here."""

    network: WholeNetwork
    early_exit: bool
    throttle: CpuThrottle

    async def classify(self, sample: Sample) -> SampleRow:
        """See `SampleClassifier`."""
        began = time.perf_counter()
        found = self.network.classify(sample.pixels, early_exit=self.early_exit)
        self.throttle.wait()
        return _answered_here(began, found)


class Fallback:
    """Head, encoder and local exit, to the first timestep that it is sure of."""

    def __init__(self, bundle: Bundle, head: ThrottledHead) -> None:
        found = open_local_exit(bundle)
        if found is None:
            raise ConfigError(f"bundle {bundle.path} has no local exit: give it one with `neucodex-train local-exit`")
        self._exit = found
        self._head = head
        self._timesteps = bundle.manifest.network.timesteps

    async def classify(self, sample: Sample) -> SampleRow:
        """See `SampleClassifier`."""
        began = time.perf_counter()
        run, total, found = self._head.start(sample.pixels), np.zeros(()), []
        for timestep in range(1, self._timesteps + 1):
            total = total + run.step()
            answer = self._exit.confidences((total / timestep).astype(np.float32))
            found.append(np.array(answer))
            if self._exit.policy.should_stop(answer):
                break
        self._head.throttle.wait()
        return {**_answered_here(began, found), "local_exits": len(found)}


class PairClassifier:
    """`edge_client`'s own loop."""

    def __init__(self, classify: Callable[[Sample], Any], head: ThrottledHead, *, local_first: bool) -> None:
        self._classify = classify
        self._head = head
        self._local_first = local_first
        self._counted = head.steps

    async def classify(self, sample: Sample) -> SampleRow:
        """See `SampleClassifier`."""
        began = time.perf_counter()
        verdict = await self._classify(sample)
        answered = _ms(began)
        self._head.throttle.wait()
        latency = _ms(began)
        counted, self._counted = self._counted, self._head.steps
        steps = verdict.steps
        here = verdict.answered_by == "edge"
        row: SampleRow = {
            "predicted": verdict.prediction,
            "answered_by": EDGE if here else CLOUD,
            "timesteps": verdict.timesteps,
            "head_steps": self._counted - counted,
            "payload_bytes": verdict.payload_bytes,
            "message_bytes": verdict.message_bytes,
            "local_exits": int(self._local_first),
            "latency_ms": latency,
            "confidence": [verdict.confidence] if here else [step.confidence for step in steps],
        }
        if here:
            return {**row, "head_ms": latency}
        times = {
            f"{name}_ms": sum(getattr(step, f"{name}_s") for step in steps) * 1000
            for name in ("head", "encode", "queue", "tail", "send_to_result")
        }
        transit = max(times.pop("send_to_result_ms") - times["queue_ms"] - times["tail_ms"], 0.0)
        return {**row, **times, "transit_ms": transit, "on_air_ms": verdict.on_air_s * 1000 + latency - answered}


@dataclass
class PictureClassifier:
    """The picture's file to the cloud, which runs the whole network."""

    stream: ByteStream
    alternative: Alternative
    throttle: CpuThrottle

    async def classify(self, sample: Sample) -> SampleRow:
        """See `SampleClassifier`."""
        asked = self.alternative
        assert asked.codec is not None
        began = time.perf_counter()
        data = encode(sample.pixels, asked.codec, asked.quality)
        self.throttle.wait()
        encoded = _ms(began)
        message = request_picture(asked.codec, data, early_exit=asked.early_exit)
        queued, computed, found = read_answer(await self.stream.ask(message))
        self.throttle.wait()
        latency = _ms(began)
        return {
            **_answer(found),
            "answered_by": CLOUD,
            "payload_bytes": len(data),
            "message_bytes": len(message),
            "latency_ms": latency,
            "encode_ms": encoded,
            "queue_ms": queued,
            "tail_ms": computed,
            "transit_ms": max(latency - encoded - queued - computed, 0.0),
            "on_air_ms": latency - encoded,
        }


@dataclass
class Float32:
    """The split's features as float32, in lockstep, with the uncompressed network's exit."""

    stream: ByteStream
    head: ThrottledHead
    bundle: Bundle

    async def classify(self, sample: Sample) -> SampleRow:
        """See `SampleClassifier`."""
        row: SampleRow = dict.fromkeys(("head_ms", "encode_ms", "queue_ms", "tail_ms", "transit_ms"), 0.0)
        row |= {"answered_by": CLOUD, "payload_bytes": 0, "message_bytes": 0}
        began = at = time.perf_counter()
        on_air_since, found = 0.0, list[NDArray[np.float32]]()
        run = self.head.start(sample.pixels)
        for timestep in range(1, self.bundle.manifest.network.timesteps + 1):
            features = run.step().astype(np.float32)
            row["head_ms"] += _ms(at)
            at = time.perf_counter()
            message = request_features(timestep, features)
            self.head.throttle.wait()
            row["encode_ms"] += _ms(at)
            at = time.perf_counter()
            on_air_since = on_air_since or at
            queued, computed, answer = read_answer(await self.stream.ask(message))
            row["transit_ms"] += max(_ms(at) - queued - computed, 0.0)
            row["queue_ms"] += queued
            row["tail_ms"] += computed
            row["payload_bytes"] += features.nbytes
            row["message_bytes"] += len(message)
            at = time.perf_counter()
            found.append(answer[0])
            if self.bundle.settings.exit_policy.should_stop(tuple(answer[0].tolist())):
                break
        self.head.throttle.wait()
        ended = {"head_steps": len(found), "latency_ms": _ms(began), "on_air_ms": _ms(on_air_since)}
        return {**row, **_answer(found), **ended}


def _answer(found: Sequence[NDArray[Any]] | NDArray[Any]) -> SampleRow:
    """Of the confidences [classes] of each timestep."""
    return {
        "predicted": int(found[-1].argmax()),
        "timesteps": len(found),
        "confidence": [float(each.max()) for each in found],
    }


def _answered_here(began: float, found: Sequence[NDArray[Any]] | NDArray[Any]) -> SampleRow:
    spent = _ms(began)
    return {**_answer(found), "answered_by": EDGE, "head_steps": len(found), "latency_ms": spent, "head_ms": spent}


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000
