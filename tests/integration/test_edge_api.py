"""The edge for programs: the page's examples as they stand, and what they do not show."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_client import build
from edge_client.heads.base import Head, HeadRun, InputArray
from edge_client.heads.factory import open_head
from edge_client.input_config import InputConfig
from edge_client.link.security import IN_CLEAR
from edge_client.windows import Window
from neucodex import Edge
from shared.bundle import Bundle
from shared.datasets import load_split
from shared.errors import BundleError, CloudRefused, CloudUnavailable, ConfigError, SourceError
from shared.spike_codec import Spikes
from tests.support.bundles import make_bundle
from tests.support.dark_link import DarkLink
from tests.support.edges import edge_here
from tests.support.processes import DEADLINE, CloudProcess, cloud_process, wait_for
from tests.support.recordings import write_dat
from tests.unit.shared.datasets.made import made

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "resnet18-digits"
PAGE = ROOT / "docs" / "api.md"
PRINTED = (r"^7 [01]", r"3\.png 3\n.*7\.png 7\n", r"'7'.*'7'", r"^skipped: .*\n1 3 [\s\S]*no cloud: ")
"""What each example prints."""

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("events"), input_kind="events", input_shape=(2, 34, 34), timesteps=5)


@pytest.fixture(scope="module")
def cloud(events: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    """It gives no sample up by itself: what frees a slot here is the edge."""
    folder = tmp_path_factory.mktemp("cloud")
    with cloud_process(folder, [DIGITS, events.path], "--sample-idle-timeout", "600") as running:
        yield running


@pytest.fixture(scope="module")
def digit() -> dict[int, np.ndarray[Any, np.dtype[np.uint8]]]:
    """A held-out picture [1, H, W] of each class."""
    test = load_split("digits", None, "test", size=16)
    return {label: test.frames[list(test.labels).index(label)] for label in range(10)}


def edge(cloud: CloudProcess, bundle: Path = DIGITS, **options: Any) -> Edge:
    return Edge(bundle, cloud.listen, security=IN_CLEAR, **options)


def no_thread_of_ours() -> bool:
    """gRPC's come and go as it likes."""
    return not {"edge", "head"} & {thread.name.split("_")[0] for thread in threading.enumerate()}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_page(
    number: int,
    cloud: CloudProcess,
    digit: dict[int, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "models").symlink_to(ROOT / "models")
    for label in (3, 7):
        Image.fromarray(digit[label][0]).save(tmp_path / "scans" / f"{label}.png")
    monkeypatch.chdir(tmp_path)
    code = EXAMPLES[number]
    assert "127.0.0.1:50051" in code
    exec(compile(code.replace("127.0.0.1:50051", cloud.listen), f"{PAGE}, example {number}", "exec"), {"__name__": "x"})
    assert re.search(PRINTED[number], capsys.readouterr().out)


async def test_all_forms_of_a_picture_have_the_same_verdict(
    cloud: CloudProcess, digit: dict[int, Any], tmp_path: Path
) -> None:
    plane = digit[5][0]
    path = tmp_path / "5.png"
    Image.fromarray(plane).save(path)
    rgb = np.repeat(plane[:, :, np.newaxis], 3, axis=2)
    arrays = [plane, digit[5], plane[:, :, np.newaxis], rgb, rgb.transpose(2, 0, 1)]
    forms = [*arrays, Image.fromarray(plane), path, str(path)]
    async with edge(cloud) as opened:
        assert opened.connected
        verdicts = await asyncio.gather(*(opened.classify(form) for form in forms))
    assert not opened.connected
    assert {(verdict.prediction, verdict.timesteps, verdict.answered_by) for verdict in verdicts} == {
        (5, verdicts[0].timesteps, "cloud")
    }
    assert [verdict.sample for verdict in verdicts] == list(range(len(forms)))
    assert cloud.metric("neucodex_cloud_slots_in_use") == 0.0


@pytest.mark.parametrize("window", ["count:200", "count:300/100", "time:40", "time:50/20", "time:5000"])
async def test_windows_are_those_of_the_command_line(
    cloud: CloudProcess, events: Bundle, tmp_path: Path, window: str
) -> None:
    recording, path = made(1000), tmp_path / "clip.dat"
    write_dat(path, recording)
    command = await edge_here(events, cloud.listen, InputConfig(events=(str(path),), window=Window.parse(window)))
    wanted = [(line["time_s"], line["prediction"], line["confidence"], line["timesteps"]) for line in command.lines]
    assert len(wanted) == 1 if window == "time:5000" else len(wanted) > 3
    async with edge(cloud, events.path, lookahead=1) as opened:
        for given in (path, recording):
            found = [
                (
                    each.time_s,
                    opened.class_names[each.verdict.prediction],
                    each.verdict.confidence,
                    each.verdict.timesteps,
                )
                for each in await opened.classify_windows(given, window)
            ]
            assert [line[:2] + line[3:] for line in found] == [line[:2] + line[3:] for line in wanted]
            # Their batches in the cloud were others.
            np.testing.assert_allclose([line[2] for line in found], [line[2] for line in wanted], atol=1e-4)


async def test_what_has_no_windows_is_refused(cloud: CloudProcess, events: Bundle, tmp_path: Path) -> None:
    async with edge(cloud) as opened:
        with pytest.raises(ConfigError, match="takes pictures, which have no windows"):
            await opened.classify_windows("clip.dat", "count:10")
    frames = np.zeros((5, 2, 34, 34), np.uint8)
    np.savez(tmp_path / "frames.npz", frames=frames)
    async with edge(cloud, events.path) as opened:
        with pytest.raises(ConfigError, match="is neither count:N nor time:MS"):
            await opened.classify_windows(made(), "200")
        for given in (frames, tmp_path / "frames.npz", tmp_path / "missing.dat"):
            with pytest.raises(SourceError):
                await opened.classify_windows(given, "count:10")
        assert (await opened.classify(made())).sample >= 0, "it goes on"


async def test_all_forms_of_events_have_the_same_verdict(cloud: CloudProcess, events: Bundle, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    recorded = np.zeros(400, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "?")])
    recorded["x"], recorded["y"] = chance.integers(0, 34, (2, 400))
    recorded["t"], recorded["p"] = np.sort(chance.integers(0, 10**6, 400)), chance.integers(0, 2, 400)
    path = tmp_path / "clip.npz"
    np.savez(path, **{name: recorded[name] for name in ("x", "y", "t", "p")})
    async with edge(cloud, events.path, full_t=True, binning="time") as opened:
        frames = opened._converter.pixels(recorded)
        assert frames.shape == (5, 2, 34, 34)
        assert frames.sum() == 400
        verdicts = [await opened.classify(form) for form in (recorded, frames, frames.astype(np.float32), path)]
        assert len({(verdict.prediction, verdict.confidence) for verdict in verdicts}) == 1
        for wrong in (frames[:4], frames[0], recorded[:0], recorded[["x", "y", "t"]], frames + 0.5, object()):
            with pytest.raises(SourceError):
                await opened.classify(wrong)


async def test_what_is_no_picture_is_said_and_the_edge_goes_on(
    cloud: CloudProcess, digit: dict[int, Any], tmp_path: Path
) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "torn.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "torn.png").read_bytes()[:-500])
    async with edge(cloud) as opened:
        # Pillow reads the pixels when they are asked for.
        with Image.open(tmp_path / "torn.png") as torn, pytest.raises(SourceError, match="damaged"):
            await opened.classify(torn)
        shapes = [np.zeros((2, 5, 7), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)]
        for wrong in (digit[1].astype(np.float32), *shapes, 7, None, "x.png"):
            with pytest.raises(SourceError):
                await opened.classify(wrong)  # type: ignore[arg-type]
        assert (await opened.classify(digit[1])).prediction == 1


def test_threads_share_a_blocking_edge(cloud: CloudProcess, digit: dict[int, Any]) -> None:
    with Edge.blocking(DIGITS, cloud.listen, security=IN_CLEAR, in_flight=3) as opened, ThreadPoolExecutor(6) as pool:
        verdicts = list(pool.map(opened.classify, [digit[label] for label in range(10)] * 3))
    right = sum(verdict.prediction == label for verdict, label in zip(verdicts, [*range(10)] * 3, strict=True))
    assert right >= 27
    assert no_thread_of_ours()
    with pytest.raises(RuntimeError, match="not open"):
        opened.classify(digit[0])


def test_a_cloud_that_dies_is_an_error_with_fail_and_threads_end(digit: dict[int, Any], tmp_path: Path) -> None:
    with (
        cloud_process(tmp_path, [DIGITS]) as dying,
        Edge.blocking(DIGITS, dying.listen, security=IN_CLEAR, on_loss="fail", connect_deadline_s=5.0) as opened,
    ):
        assert opened.classify(digit[2]).prediction == 2
        dying.signal(signal.SIGKILL)
        dying.wait()
        with pytest.raises(CloudUnavailable):
            opened.classify(digit[2])
        assert not opened.connected


@pytest.mark.parametrize("on_loss", ["wait", "fallback"])
async def test_calls_are_told_that_the_edge_was_closed_under_them(
    cloud: CloudProcess, digit: dict[int, Any], on_loss: str
) -> None:
    async with DarkLink(cloud.listen) as dark:
        options: dict[str, Any] = {"on_loss": on_loss, "fallback_after_s": 600.0, "in_flight": 2}
        async with Edge(DIGITS, dark.listen, security=IN_CLEAR, **options) as opened:
            assert (await opened.classify(digit[3])).prediction == 3
            dark.darken()
            # Two are on their way, one waits for its turn.
            calls = [asyncio.create_task(opened.classify(digit[label])) for label in range(3)]
            while len(opened._calls) < 3:  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0)
        for call in calls:
            with pytest.raises(CloudUnavailable, match="this edge was closed"):
                await asyncio.wait_for(call, DEADLINE)
        with pytest.raises(RuntimeError, match="not open"):
            await opened.classify(digit[3])


class HeldHead:
    """A head whose samples wait before their second timestep until `let_go` is set."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.let_go = threading.Event()

    def start(self, pixels: InputArray) -> HeadRun:
        return HeldRun(self._head.start(pixels), self.let_go)


class HeldRun:
    def __init__(self, run: HeadRun, let_go: threading.Event) -> None:
        self._run = run
        self._let_go = let_go
        self._steps = 0

    def step(self) -> Spikes:
        self._steps += 1
        if self._steps == 2:
            self._let_go.wait()
        return self._run.step()


async def test_a_call_that_is_given_up_frees_its_slot(
    cloud: CloudProcess, digit: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[HeldHead] = []

    def open_held(*options: Any) -> HeldHead:
        held.append(HeldHead(open_head(*options)))
        return held[0]

    def slots() -> float:
        return cloud.metric("neucodex_cloud_slots_in_use")

    monkeypatch.setattr(build, "open_head", open_held)
    async with edge(cloud, threshold=1.0) as opened:
        try:
            call = asyncio.create_task(opened.classify(digit[3]))
            await asyncio.to_thread(wait_for, lambda: slots() == 1.0, "the sample to have a slot")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await asyncio.to_thread(wait_for, lambda: slots() == 0.0, "its slot to be free while its head still works")
        finally:
            held[0].let_go.set()
        assert (await opened.classify(digit[3])).prediction == 3


async def test_threads_are_told_that_the_edge_was_closed_under_them(cloud: CloudProcess, digit: dict[int, Any]) -> None:
    told: SimpleQueue[object] = SimpleQueue()

    def call() -> None:
        try:
            told.put(opened.classify(digit[3]))
        except Exception as error:
            told.put(error)

    def close_under_them() -> None:
        with opened:
            assert opened.classify(digit[3]).prediction == 3
            dark.darken()
            for _ in range(3):
                threading.Thread(target=call, daemon=True).start()
            wait_for(lambda: len(opened._edge._calls) == 3, "the calls to be under way")

    async with DarkLink(cloud.listen) as dark:
        opened = Edge.blocking(DIGITS, dark.listen, security=IN_CLEAR)
        await asyncio.to_thread(close_under_them)
        for _ in range(3):
            error = await asyncio.to_thread(told.get, timeout=DEADLINE)
            assert isinstance(error, CloudUnavailable)
            assert str(error) == "this edge was closed"
    assert no_thread_of_ours()


def test_what_is_wrong_is_said_at_once(cloud: CloudProcess, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no option treshold: known are .*threshold"):
        edge(cloud, treshold=0.5)
    with pytest.raises(ConfigError, match="threshold"):
        edge(cloud, threshold=1.5)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Edge(DIGITS, "nowhere", security=IN_CLEAR)
    with pytest.raises(BundleError):
        edge(cloud, tmp_path)
    other = make_bundle(tmp_path / "other", seed=5)
    with pytest.raises(CloudRefused), Edge.blocking(other.path, cloud.listen, security=IN_CLEAR):
        pass
    assert no_thread_of_ours()
