"""Network cameras through OpenCV itself: streams that end, stall, are not there, and come back."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs import capture as capture_module
from edge_client.inputs import video as video_module
from edge_client.inputs.base import nothing_done
from edge_client.inputs.capture import Capture
from edge_client.inputs.factory import open_source
from edge_client.inputs.repeat import Paced
from edge_client.inputs.video import VideoSource
from edge_client.link.backoff import Backoff
from shared.errors import ConfigError, SourceError
from tests.support.camera import Viewer, network_camera
from tests.support.processes import wait_for
from tests.unit.edge_client.manifests import manifest

cv2 = pytest.importorskip("cv2")

SILENT_S = 1.0
PAUSES = Backoff(0.05, 0.2)


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "STALLED_S", SILENT_S)


def stream(url: str, limit: int | None = None, **settings: Any) -> VideoSource:
    return VideoSource(url, 1, (3, 16, 16), "cut", nothing_done, limit, pauses=PAUSES, **settings)


def ten(viewer: Viewer) -> None:
    viewer.frames(range(10))


def ten_and_silence(viewer: Viewer) -> None:
    viewer.frames(range(10))
    viewer.hang()


def ten_others(viewer: Viewer) -> None:
    viewer.frames(range(100, 110))


def taken(source: Iterator[object]) -> list[Sample]:
    return [item for item in source if isinstance(item, Sample)]


@pytest.mark.parametrize("streamed", [ten, ten_and_silence])
@pytest.mark.parametrize("latest", [False, True])
def test_a_stream_that_ends_or_stalls_is_an_error_after_its_last_frame(streamed: Any, latest: bool) -> None:
    found: list[object] = []
    with network_camera(streamed) as camera:
        source = stream(camera.url, reconnect=False, latest=latest)
        assert source.count is None
        with pytest.raises(SourceError, match=r"video.mjpg: no more frames after 10: .*--reconnect"):
            found.extend(source)
    assert isinstance(found[-1], Sample)
    assert found[-1].name == f"{camera.url}#9"
    if not latest:
        assert [sample.pixels.mean().round() for sample in taken(iter(found))] == list(range(10))


@pytest.mark.parametrize("streamed", [ten, ten_and_silence])
def test_a_url_is_opened_again_and_frames_count_on(streamed: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with network_camera(streamed, ten_others) as camera:
        found = taken(iter(stream(camera.url, 15)))
        assert camera.opened == 2
    assert [sample.name.rpartition("#")[2] for sample in found] == list(map(str, range(15)))
    assert [sample.id for sample in found] == list(range(15))
    assert [sample.pixels.mean().round() for sample in found] == [*range(10), *range(100, 105)]
    assert "no more frames after 10" in caplog.text
    assert "open again after" in caplog.text


def test_it_is_tried_again_until_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    with network_camera(ten) as camera:
        frames = iter(stream(camera.url, 12))
        found = [next(frames) for _ in range(10)]
        port = camera.port
    with network_camera(ten_others, port=port):
        found += list(frames)
    assert len(found) == 12
    assert caplog.text.count("no more frames") == 1, "each try is not worth a line"


class Recorded(random.Random):
    """Notes the longest pause that each try may make; makes none."""

    def __init__(self) -> None:
        super().__init__()
        self.longest: list[float] = []

    def uniform(self, a: float, b: float) -> float:
        self.longest.append(b)
        return a


class Counted(Capture):
    """A capture that counts: a frame that was grabbed is the newest one once the next is asked for."""

    grabbed = 0

    def grab(self) -> bool:
        Counted.grabbed += 1
        return super().grab()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr(Counted, "grabbed", 0)
    monkeypatch.setattr(video_module, "Capture", Counted)
    return Counted


def test_each_try_that_gives_no_frame_makes_the_next_pause_longer() -> None:
    pauses = Recorded()
    with network_camera(ten, *[lambda viewer: None] * 5) as camera:
        source = VideoSource(camera.url, 1, (3, 16, 16), "cut", nothing_done, None, pauses=Backoff(0.1, 1.0, pauses))
        reading = threading.Thread(target=lambda: list(source), daemon=True)
        reading.start()
        wait_for(lambda: camera.opened == 6, "five more tries")
        source.close()
        reading.join(10.0)
        assert not reading.is_alive()
    assert pauses.longest[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_latest_leaves_out_what_came_while_nobody_asked(counted: type[Counted]) -> None:
    with network_camera(lambda viewer: viewer.frames(range(250), 0.01)) as camera:
        source = stream(camera.url, 5, latest=True)
        assert not source.read_ahead
        found, newest = [], []
        samples = iter(source)
        for _ in range(5):
            newest.append(counted.grabbed - 2)
            sample = next(samples)
            assert isinstance(sample, Sample)
            assert sample.taken_at is not None
            found.append(sample)
            came = counted.grabbed
            wait_for(lambda came=came: counted.grabbed >= came + 10, "ten more frames")  # type: ignore[misc]
        source.close()
    numbers = [int(sample.name.rpartition("#")[2]) for sample in found]
    assert [sample.id for sample in found] == list(range(5))
    assert min(later - earlier for earlier, later in itertools.pairwise(numbers[1:])) > 3
    assert [sample.pixels.mean().round() for sample in found] == numbers
    assert all(number >= least for number, least in zip(numbers, newest, strict=True)), "the newest is handed out"


def test_without_latest_every_frame_comes_with_its_time() -> None:
    began = time.time()
    with network_camera(ten) as camera:
        found = taken(iter(stream(camera.url, 10)))
    times = [sample.taken_at for sample in found]
    assert all(began < moment < time.time() for moment in times if moment is not None)
    assert None not in times


def test_every_nth_frame_of_the_latest() -> None:
    with network_camera(lambda viewer: viewer.frames(range(250), 0.005)) as camera:
        source = VideoSource(camera.url, 7, (3, 16, 16), "cut", nothing_done, 4, latest=True)
        assert {int(sample.name.rpartition("#")[2]) % 7 for sample in taken(iter(source))} == {0}


def test_a_pace_asks_for_a_frame_when_it_is_due(counted: type[Counted]) -> None:
    newest: list[int] = []

    class Pause(threading.Event):
        """As long as the camera takes for ten frames, but for the first one: the camera is not open yet."""

        def wait(self, timeout: float | None = None) -> bool:
            came = counted.grabbed
            if newest:
                wait_for(lambda: counted.grabbed >= came + 10, "ten more frames")
            newest.append(counted.grabbed - 2)
            return self.is_set()

    with network_camera(lambda viewer: viewer.frames(range(250), 0.01)) as camera:
        source = Paced(stream(camera.url, 4, latest=True), rate=5.0)
        assert not source.read_ahead
        source._closed = Pause()
        numbers = [int(sample.name.rpartition("#")[2]) for sample in taken(iter(source))]
    assert len(numbers) == 4
    assert all(number >= least for number, least in zip(numbers, newest, strict=False))
    assert min(later - earlier for earlier, later in itertools.pairwise(numbers[1:])) > 3


@pytest.mark.parametrize("streams", [(ten_and_silence,), (ten,)], ids=["a frame", "a stream"])
def test_close_ends_the_waiting_for(streams: tuple[Any, ...]) -> None:
    with network_camera(*streams) as camera:
        source = stream(camera.url)
        came = threading.Event()

        def read() -> None:
            for sample in source:
                if isinstance(sample, Sample) and sample.id == 9:
                    came.set()

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        assert came.wait(20.0)
        source.close()
        reading.join(10.0)
        assert not reading.is_alive()


def test_what_is_not_there_is_said_at_once_unless_it_is_to_be_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with network_camera() as camera:
        port, url = camera.port, camera.url
    with pytest.raises(SourceError, match=r"--video http://127.0.0.1:\d+/video.mjpg: cannot be opened: no one sends"):
        stream(url)
    source = stream(url, 3, reconnect=True)
    assert "waiting for it (--reconnect)" in caplog.text
    with network_camera(ten, port=port):
        assert len(taken(iter(source))) == 3


def test_a_password_is_in_no_name_and_no_message() -> None:
    with network_camera(ten) as camera:
        url = camera.url.replace("http://", "http://someone:secret@")
        source = stream(url, reconnect=False)
        names = []
        with pytest.raises(SourceError) as caught:
            names += [sample.name for sample in taken(iter(source))]
        assert "secret" not in str(caught.value)
    with pytest.raises(SourceError) as caught:
        stream(url)
    assert "secret" not in str(caught.value)
    assert InputConfig(video=url).identity["video"] == camera.url


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"video": "clip.mp4", "latest": True}, "--latest has no meaning here"),
        ({"video": "clip.mp4", "reconnect": True}, "--reconnect has no meaning here"),
        ({"images": ("a.png",), "latest": True}, "--latest has no meaning here"),
        ({"video": "rtsp://camera/main", "repeat": 2}, "--repeat has no meaning here"),
    ],
)
def test_flags_of_cameras_are_for_cameras(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        InputConfig(**settings)


def test_a_camera_and_a_pipeline_that_are_not_there() -> None:
    rgb = manifest((3, 16, 16))
    with pytest.raises(SourceError, match=r"/dev/video97: cannot be opened: see that it is plugged in"):
        open_source(InputConfig(video="/dev/video97"), rgb)
    with pytest.raises((ConfigError, SourceError), match="GStreamer"):
        open_source(InputConfig(video="nosuchsource ! appsink"), rgb)


def test_a_video_file_behind_a_url_ends_as_a_file_does(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 24))
    for number in range(5):
        writer.write(np.full((24, 32, 3), 20 * number, np.uint8))
    writer.release()
    serve = partial(QuietFiles, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        source = stream(f"http://127.0.0.1:{server.server_port}/clip.avi")
        assert source.count == 5
        assert [sample.taken_at for sample in taken(iter(source))] == [None] * 5
        server.shutdown()
