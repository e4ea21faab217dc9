"""The pair answers what the whole network answers, whatever the split, the lookahead and the company."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_client.heads.embedding import normalise
from edge_client.heads.factory import open_head
from edge_client.inference.co_inference import CoInference
from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.factory import open_source
from edge_client.link.addresses import Target
from edge_client.link.backoff import Backoff
from edge_client.link.cloud_link import CloudLink
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from shared.bundle import Bundle
from shared.bundle_writer import write_codec
from shared.errors import CloudRefused
from shared.execution import EXECUTIONS, Execution
from shared.exit_policy import ExitPolicy, Measure, certainty
from shared.network_spec import BottleneckSpec
from shared.spike_codec import SpikeCodec
from tests.support.bundles import load_split, make_bundle, random_samples, reference_confidences
from tests.support.codec_tables import make_tables
from tests.support.edges import EdgeRun, edge_here, rename_classes
from tests.support.processes import CloudProcess, cloud_process
from tests.support.trained import trained

DIGITS = tuple("0123456789")
INPUTS = {
    "plain": InputConfig(dataset="digits", limit=24),
    "squeezed": InputConfig(dataset="digits", limit=24),
}
TOLERANCE = 1e-4
"""Both sides fold their normalisations into the convolutions: float32 sums in another order."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {
        "plain": make_bundle(folder / "plain", bottleneck=None, threshold=0.5),
        "squeezed": make_bundle(folder / "squeezed", bottleneck=BottleneckSpec(2, 2), threshold=0.5),
        "events": make_bundle(folder / "events", input_shape=(2, 16, 16), input_kind="events", threshold=0.5),
    }
    named = {name: rename_classes(bundle, DIGITS) for name, bundle in made.items()}
    for name in ("squeezed", "events"):  # range-coded, each frame with those before it; "plain" sends packed bits
        for execution in EXECUTIONS:
            bundle = named[name].run_as(execution)
            spikes = trained(bundle, random_samples(bundle.manifest.network, 32)).frames
            tables = make_tables(bundle.manifest.frame_shape, depth=3, like=spikes)
            named[name] = write_codec(bundle, tables.arrays()).run_as("spiking")
    return named


@pytest.fixture(scope="module")
def cloud(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    paths = [bundle.path for bundle in bundles.values()]
    with cloud_process(tmp_path_factory.mktemp("cloud"), paths, "--execution", "all") as running:
        yield running


@pytest.fixture
def events(tmp_path: Path) -> InputConfig:
    """Ten recordings in N-MNIST's own layout and format, a drifting bar each."""
    generator = np.random.default_rng(0)
    for digit in range(10):
        count = 400
        x = (np.arange(count) * (digit + 1) // 40 + generator.integers(0, 4, count)) % 34
        y = generator.integers(0, 34, count)
        t = np.sort(generator.integers(0, 300_000, count))
        polarity = generator.integers(0, 2, count)
        rows = np.stack([x, y, polarity << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1).astype(np.uint8)
        path = tmp_path / "N-MNIST" / "Test" / str(digit) / "00001.bin"
        path.parent.mkdir(parents=True)
        rows.tofile(path)
    return InputConfig(dataset="nmnist", data=tmp_path, allow_partial=True)


@pytest.mark.parametrize(("name", "execution"), [("plain", "spiking"), ("squeezed", "spiking"), ("squeezed", "rate")])
async def test_pictures_get_the_whole_networks_answer(
    bundles: dict[str, Bundle], cloud: CloudProcess, name: str, execution: Execution
) -> None:
    bundle = bundles[name].run_as(execution)
    run = await edge_here(bundle, cloud.listen, INPUTS[name])
    assert_as_the_whole_network(bundle, INPUTS[name], run)
    assert len({line["timesteps"] for line in run.lines}) > 1
    packed = SpikeCodec(bundle.manifest.frame_shape).packed_bytes
    sent = [line["payload_bytes"] / line["timesteps"] for line in run.lines]
    assert max(sent) <= packed
    assert (min(sent) < packed) == (name == "squeezed"), "only this one has tables"


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_events_get_the_whole_networks_answer(
    bundles: dict[str, Bundle], cloud: CloudProcess, events: InputConfig, execution: Execution
) -> None:
    bundle = bundles["events"].run_as(execution)
    run = await edge_here(bundle, cloud.listen, events)
    assert len(run.lines) == 10
    assert [line["label"] for line in run.lines] == list(DIGITS)
    assert_as_the_whole_network(bundle, events, run)


@pytest.mark.parametrize(("measure", "threshold"), [("max_probability", 0.5), ("margin", 0.2), ("entropy", 0.25)])
async def test_certainty_is_measured_as_the_run_says(
    bundles: dict[str, Bundle], cloud: CloudProcess, measure: Measure, threshold: float
) -> None:
    run = await edge_here(bundles["squeezed"], cloud.listen, INPUTS["squeezed"], measure=measure, threshold=threshold)
    assert_as_the_whole_network(bundles["squeezed"], INPUTS["squeezed"], run, ExitPolicy(measure, threshold))
    assert len({line["timesteps"] for line in run.lines}) > 1


@pytest.mark.parametrize(("measure", "asked"), [("max_probability", 3), ("margin", 2), ("entropy", 3), ("margin", 99)])
async def test_a_verdict_names_as_many_classes_as_were_asked_for(
    bundles: dict[str, Bundle], cloud: CloudProcess, measure: Measure, asked: int
) -> None:
    run = await edge_here(bundles["squeezed"], cloud.listen, INPUTS["squeezed"], measure=measure, top_k=asked)
    classes = bundles["squeezed"].manifest.class_names
    for line in run.lines:
        best = line["top_k"]
        assert len(best) == min(asked, len(classes))
        assert best[0] == {"class": line["prediction"], "confidence": line["confidence"]}
        assert [each["confidence"] for each in best] == sorted((e["confidence"] for e in best), reverse=True)
        assert len({each["class"] for each in best}) == len(best)


@pytest.mark.parametrize(("lookahead", "in_flight"), [(2, 1), (4, 1), ("auto", 1), (1, 3), (4, 8), ("auto", 4)])
@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_lookahead_and_company_give_the_answers_of_lockstep(
    bundles: dict[str, Bundle], cloud: CloudProcess, execution: Execution, lookahead: Any, in_flight: int
) -> None:
    bundle = bundles["squeezed"].run_as(execution)
    run = await edge_here(bundle, cloud.listen, INPUTS["squeezed"], lookahead=lookahead, in_flight=in_flight)
    assert_as_the_whole_network(bundle, INPUTS["squeezed"], run)


@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_samples_in_flight_together_wait_for_a_slot_and_get_the_same_answers(
    bundles: dict[str, Bundle], tmp_path: Path, execution: Execution
) -> None:
    bundle = bundles["squeezed"].run_as(execution)
    manifest, policy = bundle.manifest, bundle.settings.exit_policy
    samples = [item for item in open_source(INPUTS["squeezed"], manifest) if isinstance(item, Sample)][:6]
    rejections: list[object] = []
    with cloud_process(tmp_path, [bundle.path], "--slots", "1", "--execution", execution) as narrow:
        host, _, port = narrow.listen.rpartition(":")

        def connect(target: Target, within_s: float) -> GrpcTransport:
            return GrpcTransport.of(bundle, policy, target, IN_CLEAR, within_s)

        link = CloudLink([(host, int(port))], connect, 10.0, Backoff())
        link.start()
        network = CoInference(
            open_head(bundle, "torch"),
            SpikeCodec.of(bundle),
            link,
            policy,
            manifest.network.timesteps,
            in_flight=6,
            on_rejection=rejections.append,
        )
        together = await asyncio.gather(*(network.classify(sample) for sample in samples))
        alone = [await network.classify(sample) for sample in samples]
        network.close()
        await link.close()
    assert rejections
    for one, other in zip(together, alone, strict=True):
        assert (one.prediction, one.timesteps) == (other.prediction, other.timesteps)
        assert one.confidence == pytest.approx(other.confidence, abs=TOLERANCE)


async def test_an_edge_with_other_codec_tables_is_refused(
    bundles: dict[str, Bundle], cloud: CloudProcess, tmp_path: Path
) -> None:
    shutil.copytree(bundles["squeezed"].path, tmp_path / "other")
    ours = Bundle.open(tmp_path / "other")
    other = write_codec(ours, make_tables(ours.manifest.frame_shape, depth=3, seed=1).arrays())
    with pytest.raises(CloudRefused, match="FAILED_PRECONDITION"):
        await edge_here(other, cloud.listen, INPUTS["squeezed"])


def reference(bundle: Bundle, samples: NDArray[np.uint8]) -> NDArray[Any]:
    """Confidences [N, T, classes]: those of SplitNetwork, which steps; in `rate` those of the training code."""
    if bundle.execution == "rate":
        return trained(bundle, samples).confidences.swapaxes(0, 1)
    inputs = torch.from_numpy(normalise(samples, bundle.manifest.normalisation))
    batched = inputs if inputs.dim() == 4 else inputs.transpose(0, 1)
    confidences: NDArray[Any] = reference_confidences(load_split(bundle), batched).transpose(0, 1).numpy()
    return confidences


def assert_as_the_whole_network(
    bundle: Bundle, inputs: InputConfig, run: EdgeRun, policy: ExitPolicy | None = None
) -> None:
    """Prediction, confidence and exit of every line are the reference's under the policy, or the bundle's own."""
    assert run.code == 0, run.err
    manifest = bundle.manifest
    policy = policy or bundle.settings.exit_policy
    samples = np.stack([item.pixels for item in open_source(inputs, manifest) if isinstance(item, Sample)])
    for confidences, line in zip(reference(bundle, samples), run.lines, strict=True):
        best = confidences.max(-1)
        certainties = [certainty(policy.measure, answer) for answer in confidences.tolist()]
        assert all(abs(value - policy.threshold) > TOLERANCE for value in certainties), (
            "too close to call: another seed"
        )
        certain = [t for t, value in enumerate(certainties, 1) if value >= policy.threshold]
        exit_at = certain[0] if certain else manifest.network.timesteps
        assert line["timesteps"] == exit_at
        assert line["confidence"] == pytest.approx(float(best[exit_at - 1]), abs=TOLERANCE)
        assert line["prediction"] == manifest.class_names[int(confidences[exit_at - 1].argmax())]
