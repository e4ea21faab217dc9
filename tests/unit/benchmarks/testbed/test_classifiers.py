"""Every alternative waits as long as what it computed would take on the slower edge."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.echo import ByteStream
from benchmarks.testbed import classifiers
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.classifiers import EdgeOnly, Fallback, Float32, PairClassifier, PictureClassifier
from benchmarks.testbed.cpu_throttle import CpuThrottle, ThrottledHead
from benchmarks.testbed.picture_server import ANSWER
from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from shared.exit_policy import ExitPolicy
from tests.unit.benchmarks.testbed.clock import Clock

STEP_S, REST_S = 0.01, 0.003
"""CPU seconds of a step of the head, and of anything else that is computed for a sample."""

SHARE = 0.25
UNSURE = np.array([[0.4, 0.6]], np.float32)
SAMPLE = Sample(0, "made", 1, np.zeros((1, 4, 4), np.uint8))
POLICY = ExitPolicy("max_probability", 0.9)


@pytest.fixture
def throttle(clock: Clock) -> CpuThrottle:
    return CpuThrottle(SHARE)


@pytest.fixture
def bundle() -> Any:
    """What a way asks a bundle of two timesteps."""
    network = SimpleNamespace(timesteps=2)
    settings = SimpleNamespace(exit_policy=POLICY)
    return SimpleNamespace(path="made", manifest=SimpleNamespace(network=network), settings=settings)


class Head:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self, frames: object) -> Head:
        return self

    def step(self) -> NDArray[np.uint8]:
        self._clock.cpu += STEP_S
        return np.ones((1, 2, 2), np.uint8)


class Stream(ByteStream):
    """A stream to the picture server, which answers at once; the edge computes as it reads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def ask(self, message: bytes) -> bytes:
        assert message
        self._clock.cpu += REST_S
        return ANSWER.pack(0, 0, 1) + UNSURE.tobytes()


def waited_off(clock: Clock, cpu_s: float) -> None:
    assert clock.cpu - 5.0 == pytest.approx(cpu_s)
    assert sum(clock.waited) == pytest.approx(cpu_s * (1 / SHARE - 1))


def spending(clock: Clock, answer: Any) -> Callable[..., Any]:
    """A function that computes for `REST_S` and gives `answer`."""

    def compute(*_: object, **__: object) -> Any:
        clock.cpu += REST_S
        return answer

    return compute


async def test_the_whole_network_on_the_edge(clock: Clock, throttle: CpuThrottle) -> None:
    network: Any = SimpleNamespace(classify=spending(clock, UNSURE))
    row = await EdgeOnly(network, early_exit=False, throttle=throttle).classify(SAMPLE)
    assert row["predicted"] == 1
    waited_off(clock, REST_S)


async def test_the_local_exit_alone(
    clock: Clock, throttle: CpuThrottle, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = SimpleNamespace(confidences=spending(clock, (0.4, 0.6)), policy=POLICY)
    monkeypatch.setattr(classifiers, "open_local_exit", lambda _: local)
    row = await Fallback(bundle, ThrottledHead(Head(clock), throttle)).classify(SAMPLE)
    assert row["timesteps"] == row["local_exits"] == 2
    waited_off(clock, 2 * STEP_S + 2 * REST_S)


async def test_the_pair(clock: Clock, throttle: CpuThrottle) -> None:
    head = ThrottledHead(Head(clock), throttle)

    async def classify(sample: Sample) -> Verdict:
        head.start(sample.pixels).step()
        clock.cpu += REST_S  # after its last step: the answer is read
        return Verdict(0, 1, 0.6, 1, 12, 0.05, "cloud", ())

    row = await PairClassifier(classify, head, local_first=False).classify(SAMPLE)
    assert row["head_steps"] == 1
    waited_off(clock, STEP_S + REST_S)


async def test_a_picture_file(clock: Clock, throttle: CpuThrottle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "encode", spending(clock, b"a file"))
    jpeg = Alternative("jpeg", "JPEG", "picture", "uncompressed", early_exit=True, codec="jpeg", quality=90)
    row = await PictureClassifier(Stream(clock), jpeg, throttle).classify(SAMPLE)
    assert row["payload_bytes"] == len(b"a file")
    waited_off(clock, 2 * REST_S)
    assert len(clock.waited) == 2, "for the file before it is sent"


async def test_float32_features(
    clock: Clock, throttle: CpuThrottle, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "request_features", spending(clock, b"features"))
    row = await Float32(Stream(clock), ThrottledHead(Head(clock), throttle), bundle).classify(SAMPLE)
    assert row["timesteps"] == row["head_steps"] == 2
    waited_off(clock, 2 * STEP_S + 4 * REST_S)
    assert len(clock.waited) == 5, "for each message before it is sent"
