"""A real cloud process, driven over loopback by raw streams: what it answers, and what it does with bad input."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray

from cloud_server.shares import largest_share
from protos import co_inference_pb2 as pb
from shared.bundle import Bundle
from shared.messages import Codec, Frame, Open, RejectionCode, StepResult
from tests.support.bundles import load_split, make_bundle, random_inputs, reference_confidences, wire_frames
from tests.support.known import SAMPLES, TOLERANCE, assert_close
from tests.support.processes import CloudProcess, cloud_process, wait_for
from tests.support.raw_edge import RawEdge

SLOTS = 12
MAX_OPEN = 8


@pytest.fixture(scope="module")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(
        tmp_path_factory.mktemp("other"), backbone="vgg16", split="block2", classes=3, timesteps=2, seed=5
    )


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, other_bundle: Bundle) -> Iterator[CloudProcess]:
    folder = tmp_path_factory.mktemp("cloud")
    flags = ("--slots", str(SLOTS), "--max-open-samples", str(MAX_OPEN), "--log-format", "json")
    with cloud_process(folder, [bundle.path, other_bundle.path], *flags) as process:
        yield process
        assert "Traceback" not in process.log.read_text()


@pytest.fixture(autouse=True)
def nothing_left_behind(cloud: CloudProcess) -> Iterator[None]:
    """Every test here, whatever it does, must leave the cloud with no stream and no slot in use."""
    yield
    wait_for(lambda: cloud.metric("neucodex_cloud_streams") == 0, "all streams to be gone")
    assert cloud.metric("neucodex_cloud_slots_in_use") == 0


async def assert_lives(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    async with RawEdge(cloud.listen, bundle) as edge:
        for timestep in range(1, 5):
            assert_close((await edge.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
        await edge.stop(0)


async def test_lockstep_gives_the_reference(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        assert edge.ready.max_open_samples == MAX_OPEN
        assert edge.ready.sample_idle_timeout_ms == 30_000
        for sample in range(SAMPLES):
            for timestep in range(1, 5):
                result = await edge.step(sample, timestep, frames[timestep - 1, sample])
                assert_close(result.confidences, expected, sample, timestep)
                assert result.compute_us > 0
            await edge.stop(sample)


async def test_streams_at_different_timesteps_share_batches_and_get_the_same_answers(cloud, bundle, frames, expected):
    async def edge_life(first: int, ahead: bool) -> list[int]:
        sizes = []
        async with RawEdge(cloud.listen, bundle) as edge:
            for sample in range(first, first + 3):
                if ahead:
                    for timestep in range(1, 5):
                        await edge.send_frame(sample, timestep, frames[timestep - 1, sample])
                for timestep in range(1, 5):
                    if not ahead:
                        await edge.send_frame(sample, timestep, frames[timestep - 1, sample])
                    result = await edge.result()
                    assert (result.sample, result.timestep) == (sample, timestep)
                    assert_close(result.confidences, expected, sample, timestep)
                    sizes.append(result.batch_size)
                await edge.stop(sample)
        return sizes

    lives = [edge_life(3 * (number % 2), ahead=number % 3 == 0) for number in range(10)]
    sizes = [size for life in await asyncio.gather(*lives) for size in life]
    assert max(sizes) > 1, "nothing was batched: the test shows nothing"


async def test_two_bundles_in_one_process(cloud, bundle, other_bundle, frames, expected):
    other = load_split(other_bundle)
    inputs = random_inputs(other.spec, 2, seed=3)
    other_frames, other_expected = wire_frames(other, inputs), reference_confidences(other, inputs).numpy()
    async with RawEdge(cloud.listen, bundle) as edge, RawEdge(cloud.listen, other_bundle) as other_edge:
        for timestep in (1, 2):
            assert_close((await edge.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
            result = await other_edge.step(0, timestep, other_frames[timestep - 1, 0])
            assert_close(result.confidences, other_expected, 0, timestep)


async def test_the_same_sample_number_on_two_streams_is_two_samples(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as one, RawEdge(cloud.listen, bundle) as two:
        for timestep in range(1, 5):
            assert_close((await one.step(9, timestep, frames[timestep - 1, 1])).confidences, expected, 1, timestep)
            assert_close((await two.step(9, timestep, frames[timestep - 1, 2])).confidences, expected, 2, timestep)


async def test_top_k(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle, top_k=3) as edge:
        result = await edge.step(0, 1, frames[0, 0])
        classes = np.argsort(-expected[0, 0], kind="stable")[:3]
        assert result.classes == tuple(classes.tolist())
        assert np.allclose(result.confidences, expected[0, 0, classes], atol=TOLERANCE)
    async with RawEdge(cloud.listen, bundle, top_k=1000) as edge:
        assert len((await edge.step(0, 1, frames[0, 0])).classes) == 10


async def test_a_repeated_frame_is_answered_again_and_not_stepped_again(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        first = [await edge.step(0, timestep, frames[timestep - 1, 0]) for timestep in (1, 2)]
        stepped = cloud.metric("neucodex_cloud_frames_total")
        assert await edge.step(0, 1, frames[0, 0]) == first[0]
        assert await edge.step(0, 2, frames[1, 0]) == first[1]
        assert cloud.metric("neucodex_cloud_frames_total") == stepped
        for timestep in (3, 4):
            assert_close((await edge.step(0, timestep, frames[timestep - 1, 0])).confidences, expected, 0, timestep)
        assert cloud.metric("neucodex_cloud_slots_in_use") == 0, "the last timestep frees the slot"
        assert_close((await edge.step(0, 4, frames[3, 0])).confidences, expected, 0, 4)
        await edge.stop(0)
        await edge.send_frame(0, 4, frames[3, 0])
        assert (await edge.rejection()).code == RejectionCode.STATE_LOST


async def test_replay_on_a_new_stream(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0, 0])
        await edge.step(0, 2, frames[1, 0])
    async with RawEdge(cloud.listen, bundle) as edge:
        for timestep in (1, 2, 3):
            await edge.send_frame(0, timestep, frames[timestep - 1, 0])
        for timestep in (1, 2, 3):
            assert_close((await edge.result()).confidences, expected, 0, timestep)


async def test_half_close_still_answers_what_was_sent(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        for timestep in range(1, 4):
            await edge.send_frame(0, timestep, frames[timestep - 1, 0])
        await edge.call.done_writing()
        for timestep in range(1, 4):
            assert_close((await edge.result()).confidences, expected, 0, timestep)
        assert await edge.end() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("timestep", "change", "code", "words"),
    [
        (3, {}, RejectionCode.STATE_LOST, "timestep 3 came after 1"),
        (0, {}, RejectionCode.INVALID_FRAME, "1..4"),
        (5, {}, RejectionCode.INVALID_FRAME, "1..4"),
        (2**32 - 1, {}, RejectionCode.INVALID_FRAME, "1..4"),
        (2, {"spikes": b"\0" * 31}, RejectionCode.INVALID_FRAME, "31 bytes"),
        (2, {"spikes": b"\0" * 33}, RejectionCode.INVALID_FRAME, "33 bytes"),
        (2, {"spikes": b""}, RejectionCode.INVALID_FRAME, "0 bytes"),
        (2, {"codec": 0}, RejectionCode.INVALID_FRAME, "codec 0"),
        (2, {"codec": 99}, RejectionCode.INVALID_FRAME, "codec 99"),
    ],
)
async def test_a_bad_frame_rejects_its_sample_alone(cloud, bundle, frames, expected, timestep, change, code, words):
    before = cloud.metric("neucodex_cloud_rejections_total", reason=code.name.lower())
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0, 0])
        await edge.step(1, 1, frames[0, 1])
        codec, data = edge.codec.encode(frames[1, 0])
        await edge.send(Frame(0, timestep, change.get("codec", codec), change.get("spikes", data)))
        rejection = await edge.rejection()
        assert (rejection.sample, rejection.code) == (0, code)
        assert words in rejection.reason
        await edge.send_frame(0, 2, frames[1, 0])  # was under way already: not rejected once more
        assert_close((await edge.step(1, 2, frames[1, 1])).confidences, expected, 1, 2)
        assert_close((await edge.step(0, 1, frames[0, 0])).confidences, expected, 0, 1)
    assert cloud.metric("neucodex_cloud_rejections_total", reason=code.name.lower()) == before + 1


async def test_an_unknown_sample_has_lost_its_state(cloud, bundle, frames):
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.send_frame(77, 2, frames[1, 0])
        rejection = await edge.rejection()
        assert (rejection.sample, rejection.code) == (77, RejectionCode.STATE_LOST)
        await edge.stop(12345)  # of nothing: harmless
        await edge.step(77, 1, frames[0, 0])


async def test_a_bad_frame_in_a_batch_affects_no_other(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        for sample in range(SAMPLES):
            codec, data = edge.codec.encode(frames[0, sample])
            await edge.send(Frame(sample, 1, codec, data if sample != 2 else data[:-1]))
        answers = [await edge.receive() for _ in range(SAMPLES)]
        results = {answer.sample: answer for answer in answers if isinstance(answer, StepResult)}
        assert sorted(results) == [0, 1, 3, 4, 5]
        for sample, result in results.items():
            assert_close(result.confidences, expected, sample, 1)


async def test_no_slot_says_when_to_try_again(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as one, RawEdge(cloud.listen, bundle) as two:
        for sample in range(MAX_OPEN):
            await one.step(sample, 1, frames[0, 0])
        await one.send_frame(99, 1, frames[0, 0])
        rejection = await one.rejection()
        assert (rejection.sample, rejection.code) == (99, RejectionCode.NO_SLOT)
        assert "this stream" in rejection.reason
        assert rejection.retry_after_ms > 0
        for sample in range(largest_share(SLOTS) - MAX_OPEN):
            await two.step(sample, 1, frames[0, 0])
        await two.send_frame(99, 1, frames[0, 0])
        rejection = await two.rejection()
        assert rejection.code == RejectionCode.NO_SLOT
        assert "slots" in rejection.reason
        assert rejection.retry_after_ms > 0
        await one.stop(0)
        await one.step(1, 2, frames[1, 0])  # in order: the stop was taken in
        assert_close((await two.step(99, 1, frames[0, 3])).confidences, expected, 3, 1)


async def test_stop_and_the_streams_end_free_slots(cloud, bundle, frames):
    async with RawEdge(cloud.listen, bundle) as edge:
        for sample in range(4):
            await edge.step(sample, 1, frames[0, 0])
        assert cloud.metric("neucodex_cloud_slots_in_use") == 4
        for sample in (0, 1):
            await edge.stop(sample)
        await edge.step(2, 2, frames[1, 0])
        assert cloud.metric("neucodex_cloud_slots_in_use") == 2
    wait_for(lambda: cloud.metric("neucodex_cloud_slots_in_use") == 0, "the cut stream's slots to be free")


async def test_a_slot_used_before_gives_the_same_answers(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge:
        for sample in range(3 * SLOTS):
            known = sample % SAMPLES
            for timestep in range(1, 1 + sample % 3):
                result = await edge.step(sample, timestep, frames[timestep - 1, known])
                assert_close(result.confidences, expected, known, timestep)
            await edge.stop(sample)


async def refused(cloud: CloudProcess, bundle: Bundle, *first: bytes) -> tuple[grpc.StatusCode, str]:
    edge = RawEdge(cloud.listen, bundle)
    for raw in first:
        await edge.send_bytes(raw)
    if not first:
        await edge.call.done_writing()
    code = await edge.end()
    details = await edge.call.details()
    await edge.close()
    return code, details


def opening(**fields: object) -> bytes:
    return pb.EdgeMessage(open=pb.Open(**fields)).SerializeToString()


async def test_a_wrong_first_message_ends_the_stream(cloud, bundle, frames, expected):
    frame = pb.EdgeMessage(frame=pb.Frame(sample=1, timestep=1, codec=1, spikes=b"\0" * 32)).SerializeToString()
    for first, words in (
        (frame, "must be Open"),
        (pb.EdgeMessage(stopped=[1]).SerializeToString(), "must be Open"),
        (b"", "without content"),
        (b"\xff\xfe\xfd garbage", "no EdgeMessage"),
        (opening(protocol_version=1, fingerprint=b"short"), "SHA-256"),
    ):
        code, details = await refused(cloud, bundle, first)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert words in details
    code, details = await refused(cloud, bundle)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "before its Open" in details
    await assert_lives(cloud, bundle, frames, expected)


async def test_a_wrong_bundle_or_version_is_a_failed_precondition(cloud, bundle, other_bundle):
    code, details = await refused(cloud, bundle, opening(protocol_version=1, fingerprint=b"\x01" * 32))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    for served in (bundle, other_bundle):
        assert served.manifest.name in details
        assert served.fingerprint.hex()[:12] in details
    code, details = await refused(cloud, bundle, opening(protocol_version=2, fingerprint=bundle.fingerprint))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "version 2" in details


@pytest.mark.parametrize(
    "raw", [b"\x08garbage \xff\xff", b"", opening(protocol_version=1, fingerprint=b"\x01" * 32)], ids=repr
)
async def test_a_bad_message_on_an_open_stream_ends_that_stream_alone(cloud, bundle, frames, expected, raw):
    async with RawEdge(cloud.listen, bundle) as edge, RawEdge(cloud.listen, bundle) as other:
        await edge.step(0, 1, frames[0, 0])
        await other.step(0, 1, frames[0, 1])
        await edge.send_bytes(raw)
        assert await edge.end() is grpc.StatusCode.INVALID_ARGUMENT
        assert_close((await other.step(0, 2, frames[1, 1])).confidences, expected, 1, 2)


async def test_an_oversized_message_ends_that_stream_alone(cloud, bundle, frames, expected):
    async with RawEdge(cloud.listen, bundle) as edge, RawEdge(cloud.listen, bundle) as other:
        await edge.step(0, 1, frames[0, 0])
        await other.step(0, 1, frames[0, 1])
        await edge.send(Frame(0, 2, Codec.PACKED_BITS, b"\0" * 1_000_000))
        assert await edge.end() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert_close((await other.step(0, 2, frames[1, 1])).confidences, expected, 1, 2)


async def test_health_reflection_and_metrics(cloud, bundle):
    async with grpc.aio.insecure_channel(cloud.listen) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "neucodex.v1.CoInference"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        listed = {service.name async for answer in call for service in answer.list_services_response.service}
        assert {"neucodex.v1.CoInference", "grpc.health.v1.Health"} <= listed
    assert cloud.metric("neucodex_cloud_slots", bundle=bundle.manifest.name) == SLOTS
    for stage in ("queue", "decode", "gather", "tail", "scatter"):
        assert cloud.metric("neucodex_cloud_stage_seconds_count", stage=stage, bundle=bundle.manifest.name) > 0


async def test_open_is_sent_once(cloud, bundle, frames):
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.send(Open(bundle.fingerprint, bundle.execution))
        assert await edge.end() is grpc.StatusCode.INVALID_ARGUMENT


def test_the_ready_line_can_be_read_by_machines(cloud: CloudProcess, tmp_path: Path) -> None:
    assert f'"event": "ready", "listen": "{cloud.listen}"' in cloud.log.read_text()
