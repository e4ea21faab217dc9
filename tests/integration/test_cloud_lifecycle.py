"""The cloud process from its command line to its end: wrong flags, limits, idle samples, and the way out."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from numpy.typing import NDArray

from cloud_server import __main__ as command_line
from shared.bundle import Bundle
from shared.messages import RejectionCode, StepResult
from tests.support.known import known_frames
from tests.support.processes import DEADLINE, CloudProcess, cloud_process, until
from tests.support.raw_edge import RawEdge


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    return known_frames(bundle)[:, 0]


@pytest.fixture
def impatient(tmp_path: Path, bundle: Bundle) -> Iterator[CloudProcess]:
    flags = ("--sample-idle-timeout", "1", "--max-streams", "2", "--drain-timeout", "0.1")
    with cloud_process(tmp_path, [bundle.path], *flags) as process:
        yield process


async def health(address: str | None) -> int:
    assert address is not None
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        return answer.status


async def retry_delay(edge: RawEdge) -> float:
    """Seconds that the status of a stream that ended tells to wait."""
    status = await rpc_status.aio.from_call(edge.call)
    (detail,) = status.details
    info = error_details_pb2.RetryInfo()
    assert detail.Unpack(info)
    return info.retry_delay.ToMilliseconds() / 1000


async def test_limits_in_time_and_number_and_a_drain_that_times_out(impatient, bundle, frames):
    cloud = impatient
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0])
        rejection = await edge.rejection()
        assert (rejection.sample, rejection.code) == (0, RejectionCode.IDLE)
        assert "for 1 s" in rejection.reason
        assert cloud.metric("neucodex_cloud_slots_in_use") == 0
        # A finished sample holds no slot and goes without a word; the stream itself has no idle time.
        for timestep in range(1, 5):
            await edge.step(1, timestep, frames[timestep - 1])

        silent = RawEdge(cloud.listen, bundle)
        await until(lambda: cloud.metric("neucodex_cloud_streams") == 2, "the silent stream to be counted")
        third = RawEdge(cloud.listen, bundle)
        assert await third.end() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "2 streams" in await third.call.details()
        assert 1.0 <= await retry_delay(third) <= 2.0
        await third.close()
        assert await silent.end() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no Open" in await silent.call.details()
        await silent.close()

        await edge.send_frame(1, 4, frames[3])
        assert (await edge.rejection()).code == RejectionCode.STATE_LOST, "the finished sample's record expired"
        await edge.step(2, 1, frames[0])
        cloud.signal(signal.SIGINT)
        assert await edge.end() is grpc.StatusCode.UNAVAILABLE
    assert await asyncio.to_thread(cloud.wait) == 0
    assert "Traceback" not in cloud.log.read_text()
    assert "still open" in cloud.log.read_text()


async def test_one_address_has_its_share_of_streams(tmp_path, bundle, frames):
    with cloud_process(tmp_path, [bundle.path], "--max-streams-per-peer", "2") as cloud:
        one = await RawEdge(cloud.listen, bundle).__aenter__()
        async with RawEdge(cloud.listen, bundle) as two:
            third = RawEdge(cloud.listen, bundle)
            assert await third.end() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "your address" in await third.call.details()
            assert await retry_delay(third) > 0
            await third.close()
            assert cloud.metric("neucodex_cloud_refused_streams_total", reason="peer_cap") == 1
            await two.step(0, 1, frames[0])
            await one.close()
            await until(lambda: cloud.metric("neucodex_cloud_streams") == 1, "the closed stream to be gone")
            async with RawEdge(cloud.listen, bundle) as again:
                await again.step(0, 1, frames[0])


@pytest.mark.parametrize("how", ["deadline", "cancelled"])
async def test_frames_of_a_stream_that_has_ended_are_not_computed(tmp_path, bundle, frames, how):
    # Two frames wait for company that does not come before their stream ends. Four more are a full batch.
    with cloud_process(tmp_path, [bundle.path], "--max-wait-ms", "600000", "--max-batch", "4") as cloud:
        late = await RawEdge(cloud.listen, bundle, timeout=3.0 if how == "deadline" else None).__aenter__()
        for sample in (0, 1):
            await late.send_frame(sample, 1, frames[0])
        await until(lambda: cloud.metric("neucodex_cloud_slots_in_use") == 2, "its frames to be queued")
        if how == "deadline":
            assert await late.end() is grpc.StatusCode.DEADLINE_EXCEEDED
        else:
            late.call.cancel()
        await until(lambda: cloud.metric("neucodex_cloud_slots_in_use") == 0, "its slots to be free")
        async with RawEdge(cloud.listen, bundle) as edge:
            for sample in range(4):
                await edge.send_frame(sample, 1, frames[0])
            results = [await edge.result() for _ in range(4)]
            assert {result.batch_size for result in results} == {4}
        assert cloud.metric("neucodex_cloud_frames_total") == 4
        await late.close()


async def test_sigterm_under_load_finishes_open_samples_and_takes_no_new_ones(tmp_path, bundle, frames):
    with cloud_process(tmp_path, [bundle.path], "--drain-timeout", "30", "--health", "127.0.0.1:0") as cloud:
        busy = [RawEdge(cloud.listen, bundle) for _ in range(4)]
        idle = RawEdge(cloud.listen, bundle)
        for edge in (*busy, idle):
            await edge.__aenter__()
        for number, edge in enumerate(busy):
            for timestep in range(1, 2 + number % 3):
                await edge.step(0, timestep, frames[timestep - 1])
        cloud.signal(signal.SIGTERM)
        assert await idle.end() is grpc.StatusCode.UNAVAILABLE
        for address in (cloud.listen, cloud.probed):
            assert await health(address) == health_pb2.HealthCheckResponse.NOT_SERVING
        late = RawEdge(cloud.listen, bundle)
        assert await late.end() is grpc.StatusCode.UNAVAILABLE
        assert "draining" in await late.call.details()
        assert cloud.process.poll() is None
        for number, edge in enumerate(busy):
            await edge.send_frame(5, 1, frames[0])  # a new sample: not answered, the edge takes it elsewhere
            for timestep in range(2 + number % 3, 5):
                result = await edge.step(0, timestep, frames[timestep - 1])
                assert isinstance(result, StepResult)
            assert await edge.end() is grpc.StatusCode.UNAVAILABLE
        assert await asyncio.to_thread(cloud.wait) == 0
        assert not (tmp_path / "ready.json").exists()
        assert "Traceback" not in cloud.log.read_text()
        for edge in (*busy, idle, late):
            await edge.close()


def test_json_logs_are_one_object_a_line_and_an_idle_cloud_ends_at_once(tmp_path: Path, bundle: Bundle) -> None:
    # The drain's timeout is longer than the test waits: a cloud that waited for nothing would not end in time.
    with cloud_process(tmp_path, [bundle.path], "--log-format", "json", "--drain-timeout", "600") as cloud:
        with socket.create_connection(cloud.listen.split(":"), timeout=DEADLINE):
            cloud.signal(signal.SIGTERM)
            assert cloud.wait() == 0
        lines = [json.loads(line) for line in cloud.log.read_text().splitlines()]
        ready = next(line for line in lines if line.get("event") == "ready")
        assert ready["listen"] == cloud.listen
        assert ready["pid"] == cloud.process.pid


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """The command in this process, for errors that end it: (exit code, standard error)."""
    monkeypatch.setattr("sys.argv", ["neucodex-cloud", "--insecure", *flags])
    monkeypatch.setattr(command_line, "configure_logs", lambda *_: None)
    held_back = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
    return int(ended.value.code or 0), capsys.readouterr().err


LOOPBACK = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")


def test_a_taken_port_is_one_line_and_exit_code_2(bundle, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flags in (
            ("--listen", address, "--metrics", "127.0.0.1:0"),
            ("--listen", "127.0.0.1:0", "--metrics", address),
        ):
            code, said = run(monkeypatch, capsys, "--bundle", str(bundle.path), *flags)
            assert code == 2
            assert said.startswith("error: ")
            assert said.count("\n") == 1
            assert address in said
            assert flags[0 if address == flags[1] else 2] in said


def test_a_bundle_that_cannot_be_served_is_one_line_and_exit_code_3(bundle, tmp_path, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "--bundle", str(tmp_path / "nowhere"), *LOOPBACK)
    assert (code, said.count("\n")) == (3, 1)
    assert "nowhere" in said
    for name, damage in (("tail.safetensors", b"damaged"), ("manifest.json", b"{")):
        broken = tmp_path / f"broken-{name}"
        shutil.copytree(bundle.path, broken)
        (broken / name).write_bytes(damage)
        code, said = run(monkeypatch, capsys, "--bundle", str(broken), *LOOPBACK)
        assert (code, said.count("\n")) == (3, 1)
        assert name in said


def test_the_cloud_needs_no_head(bundle, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(bundle.path, half)
    (half / "head.safetensors").unlink()
    with cloud_process(tmp_path, [half]) as cloud:
        assert cloud.metric("neucodex_cloud_slots") == 288


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--slots", "0"], "--slots is 0"),
        (["--max-wait-ms", "-1"], "--max-wait"),
        (["--sample-idle-timeout", "0"], "--sample-idle-timeout"),
        (["--sample-idle-timeout", "nan"], "--sample-idle-timeout"),
        (["--max-message-bytes", "3"], "--max-message-bytes"),
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_a_wrong_flag_is_exit_code_2_and_says_which(bundle, monkeypatch, capsys, flags, words):
    code, said = run(monkeypatch, capsys, "--bundle", str(bundle.path), *LOOPBACK, *flags)
    assert code == 2
    assert words in said
    assert "Traceback" not in said


def test_every_flag_is_an_environment_variable(bundle, monkeypatch, capsys):
    monkeypatch.setenv("NEUCODEX_BUNDLE", f"{bundle.path} {bundle.path}")
    monkeypatch.setenv("NEUCODEX_LISTEN", "127.0.0.1:0")
    code, said = run(monkeypatch, capsys)
    assert code == 2
    assert "more than once" in said
    monkeypatch.setenv("NEUCODEX_MAX_BATCH", "0")
    code, said = run(monkeypatch, capsys)
    assert code == 2
    assert "--max-batch is 0" in said
    helped = command_line.command.get_help(command_line.click.Context(command_line.command))
    for option in command_line.command.params:
        if not option.expose_value:  # --version
            continue
        assert f"env var: {option.envvar}" in " ".join(helped.split()).replace("var:  ", "var: "), option.name


def test_the_same_bundle_twice_is_exit_code_2(bundle, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "--bundle", str(bundle.path), "--bundle", str(bundle.path), *LOOPBACK)
    assert code == 2
    assert "more than once" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_exit_code_2(bundle, monkeypatch, capsys):
    code, said = run(monkeypatch, capsys, "--bundle", str(bundle.path), "--device", "cuda", *LOOPBACK)
    assert (code, said.count("\n")) == (2, 1)
    assert "--device cpu" in said
