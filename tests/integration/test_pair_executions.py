"""One bundle in both of its executions, through real processes: the numbers are those of the training code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_client.heads.factory import open_head
from edge_client.link.security import IN_CLEAR
from neucodex import Edge
from shared.bundle import Bundle
from shared.execution import EXECUTIONS, Execution
from shared.network_spec import InputKind
from tests.support.bundles import make_bundle, random_samples, retuned
from tests.support.edges import rename_classes, run_edge
from tests.support.processes import DEADLINE, CloudProcess, cloud_process, starting_cloud
from tests.support.raw_edge import RawEdge
from tests.support.trained import trained

SAMPLES = 6
TOLERANCE = 1e-5
KINDS: tuple[InputKind, ...] = ("static", "events")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[InputKind, Bundle]:
    """With settings that are no defaults: whoever ignores one answers otherwise."""
    folder, made = tmp_path_factory.mktemp("bundles"), {}
    for kind in KINDS:
        spiking = retuned(
            make_bundle(folder / kind, input_shape=(2, 16, 16), input_kind=kind), temperature=1.7, readout_leak=0.25
        )
        made[kind] = retuned(spiking.run_as("rate"), temperature=0.6, head_levels=5, tail_levels=3)
    return made


@pytest.fixture(scope="module")
def cloud(bundles: dict[InputKind, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    paths = [bundle.path for bundle in bundles.values()]
    with cloud_process(tmp_path_factory.mktemp("cloud"), paths, "--execution", "all") as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def sent(bundle: Bundle, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the edge's own head makes of samples, run by torch: [T, N, C', H', W']."""
    head = open_head(bundle, "torch")
    runs = [head.start(sample) for sample in samples]
    return np.stack([[run.step() for run in runs] for _ in range(bundle.manifest.network.timesteps)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_every_frame_and_confidence_is_the_training_codes(
    bundles: dict[InputKind, Bundle], cloud: CloudProcess, kind: InputKind, execution: Execution
) -> None:
    bundle = bundles[kind].run_as(execution)
    samples = random_samples(bundle.manifest.network, SAMPLES)
    expected, frames = trained(bundle, samples), sent(bundle, samples)
    np.testing.assert_array_equal(frames, expected.frames)
    async with RawEdge(cloud.listen, bundle) as edge:
        for timestep, step in enumerate(frames, 1):  # all samples side by side
            answers = [await edge.step(number, timestep, frame) for number, frame in enumerate(step)]
            confidences = [answer.confidences for answer in answers]
            np.testing.assert_allclose(confidences, expected.confidences[timestep - 1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_executions_are_two(bundles: dict[InputKind, Bundle], kind: InputKind) -> None:
    """Or the test above would pass with one of them in the other's place."""
    samples = random_samples(bundles[kind].manifest.network, SAMPLES)
    spiking, rate = (trained(bundles[kind].run_as(execution), samples) for execution in ("spiking", "rate"))
    assert not np.array_equal(spiking.frames, rate.frames)
    assert np.abs(spiking.confidences - rate.confidences).max(axis=(0, 2)).min() > 100 * TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_frames_sent_again_on_a_new_stream_get_the_same_answers(
    bundles: dict[InputKind, Bundle], cloud: CloudProcess, kind: InputKind, execution: Execution
) -> None:
    bundle = bundles[kind].run_as(execution)
    frames = sent(bundle, random_samples(bundle.manifest.network, 2))[:, 1]
    async with RawEdge(cloud.listen, bundle) as edge:
        before = [(await edge.step(0, timestep, frames[timestep - 1])).confidences for timestep in (1, 2)]
    async with RawEdge(cloud.listen, bundle) as edge:
        for timestep in (1, 2, 3, 4):
            await edge.send_frame(0, timestep, frames[timestep - 1])
        after = [(await edge.result()).confidences for _ in range(4)]
    async with RawEdge(cloud.listen, bundle) as edge:
        whole = [(await edge.step(0, timestep, frames[timestep - 1])).confidences for timestep in (1, 2, 3, 4)]
    np.testing.assert_allclose(after, whole, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(before, whole[:2], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_a_program_gets_the_training_codes_answer_too(
    bundles: dict[InputKind, Bundle], cloud: CloudProcess, execution: Execution
) -> None:
    bundle = bundles["events"].run_as(execution)
    samples = random_samples(bundle.manifest.network, 3)
    expected = trained(bundle, samples).confidences[-1]
    async with Edge(bundle.path, cloud.listen, security=IN_CLEAR, execution=execution, full_t=True) as edge:
        verdicts = [await edge.classify(sample) for sample in samples]
    assert [verdict.prediction for verdict in verdicts] == expected.argmax(1).tolist()
    assert [verdict.confidence for verdict in verdicts] == pytest.approx(expected.max(1).tolist(), abs=TOLERANCE)


async def test_both_executions_of_one_sample_side_by_side(
    bundles: dict[InputKind, Bundle], cloud: CloudProcess
) -> None:
    """On two streams of one cloud, timestep by timestep."""
    views = [bundles["static"].run_as(execution) for execution in EXECUTIONS]
    samples = random_samples(views[0].manifest.network, 1)
    frames, expected = [sent(view, samples) for view in views], [trained(view, samples) for view in views]
    async with RawEdge(cloud.listen, views[0]) as one, RawEdge(cloud.listen, views[1]) as other:
        for timestep in (1, 2, 3, 4):
            for number, edge in enumerate((one, other)):
                answer = await edge.step(7, timestep, frames[number][timestep - 1, 0])
                right = expected[number].confidences[timestep - 1, 0]
                np.testing.assert_allclose(answer.confidences, right, atol=TOLERANCE, rtol=0)


def edge_of(bundle: Bundle, cloud: str, *flags: str) -> tuple[str, ...]:
    return ("--bundle", str(bundle.path), "--cloud", cloud, "--dataset", "digits", "--limit", "3", *flags)


@pytest.mark.parametrize(("served", "asked"), [("spiking", "rate"), ("rate", "spiking")])
def test_an_execution_that_the_cloud_does_not_serve_is_refused(
    tmp_path: Path, served: Execution, asked: Execution
) -> None:
    bundle = rename_classes(make_bundle(tmp_path / "bundle"), tuple("0123456789"))
    with cloud_process(tmp_path / "cloud", [bundle.path], "--execution", served) as cloud:
        refused = run_edge(*edge_of(bundle, cloud.listen, "--execution", asked))
        assert refused.code == 6
        assert refused.out == ""
        assert len(refused.err.splitlines()) == 1, refused.err
        assert (
            f"this bundle is served here in execution {served}, not in {asked}: start the edge with --execution "
            f"{served}, or the cloud with --execution all"
        ) in refused.err
        assert cloud.metric("neucodex_cloud_refused_streams_total", reason="execution") == 1
        taken = run_edge(*edge_of(bundle, cloud.listen, "--execution", served, "--json"))
        assert taken.code == 0, taken.err
        assert len(taken.lines) == 3


def test_what_a_bundle_has_not_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    bundle = rename_classes(make_bundle(tmp_path / "bundle", bottleneck=None), tuple("0123456789"))
    said = f"bundle {bundle.path} has no execution 'rate', only spiking: give it one with `neucodex-train executions"
    run = run_edge(*edge_of(bundle, "127.0.0.1:1", "--execution", "rate"))
    assert run.code == 2
    assert said in run.err
    with starting_cloud(tmp_path / "cloud", [bundle.path], "--execution", "rate") as (process, log):
        assert process.wait(DEADLINE) == 2
        assert said in log.read_text()
        assert "Traceback" not in log.read_text()
