"""A real cloud process and real edge processes on loopback: what a user sees, and what goes wrong."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_client.input_config import InputConfig
from shared.bundle import Bundle
from shared.bundle_writer import write_codec
from shared.errors import BundleError
from tests.support.bundles import load_split, make_bundle, random_inputs, wire_frames
from tests.support.codec_tables import make_tables
from tests.support.edges import edge_here, edge_process, rename_classes, run_edge
from tests.support.graphs import with_tail_step
from tests.support.processes import DEADLINE, CloudProcess, cloud_process
from tests.support.prometheus import free_port

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    # Random weights are rarely sure: this threshold lets some samples go early and some not.
    return with_tail_step(rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), DIGITS))


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


def test_a_data_set_as_json(bundle: Bundle, cloud: CloudProcess) -> None:
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--limit", "40", "--json",
        "--metrics", "127.0.0.1:0",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert len(run.lines) == 40
    for number, line in enumerate(run.lines):
        assert line.keys() == {
            "schema", "sample", "time", "input_time", "label", "prediction", "confidence", "top_k", "timesteps",
            "payload_bytes", "latency_ms", "answered_by",
            "modelled_compute_j", "modelled_radio_j", "measured_j",
            "busy_core_s", "board_dynamic_j", "board_total_j",
        }  # fmt: skip
        assert line["sample"] == f"digits/test/{number}"
        assert (line["schema"], line["input_time"]) == (1, None)
        assert line["top_k"] == [{"class": line["prediction"], "confidence": line["confidence"]}]
        assert line["label"] in DIGITS
        assert line["prediction"] in DIGITS
        assert 0.1 <= line["confidence"] <= 1.0
        assert line["confidence"] >= 0.5 or line["timesteps"] == 4
        assert line["payload_bytes"] == 32 * line["timesteps"]  # 16 x 16 spikes
        assert line["answered_by"] == "cloud"
    summary = run.summary
    assert summary["samples"] == 40
    assert summary["accuracy"] == np.mean([line["label"] == line["prediction"] for line in run.lines])
    assert summary["mean_timesteps"] == np.mean([line["timesteps"] for line in run.lines])
    assert 1.0 < summary["mean_timesteps"] < 4.0
    assert summary["payload_bytes_per_sample"] == 32 * summary["mean_timesteps"]
    assert summary["latency_ms_p50"] == pytest.approx(np.median([line["latency_ms"] for line in run.lines]))
    assert summary["latency_ms_p99"] >= summary["latency_ms_p50"] > 0.0
    assert summary["ratio_float32_feature_map"] == 32 * 4  # 4 channels to 1
    assert summary["ratio_packed_spikes"] == 4.0
    assert summary["ratio_png"] > 0.0
    assert summary["stage_ms_p50"]["send_to_result"] > summary["stage_ms_p50"]["tail"] > 0.0
    assert re.search(r"metrics at http://127\.0\.0\.1:\d+/metrics", run.err)
    assert cloud.metric("neucodex_cloud_slots_in_use") == 0.0


def test_lines_for_people_flags_from_the_environment_and_a_run_to_full_t(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path
) -> None:
    written = tmp_path / "summary.json"
    environment = {
        "NEUCODEX_BUNDLE": str(bundle.path),
        "NEUCODEX_CLOUD": cloud.listen,
        "NEUCODEX_DATASET": "digits",
        "NEUCODEX_LIMIT": "12",
        "NEUCODEX_SHOW": "3",
        "NEUCODEX_FULL_T": "1",
    }
    run = run_edge("--summary-file", str(written), environment=environment)
    assert run.code == 0, run.err
    assert len(run.out.splitlines()) == 3
    assert re.fullmatch(
        r"(right|wrong)  digits/test/0  label \d  prediction \d  "
        r"confidence +\d+\.\d%  exit t=4/4  128 bytes  [\d.]+ ms",
        run.out.splitlines()[0],
    )
    summary = json.loads(written.read_text())
    assert (summary["samples"], summary["mean_timesteps"]) == (12, 4.0)
    assert 1.0 <= summary["mean_exit_timestep"] < 4.0
    assert summary["accuracy_early_exit"] is not None


def test_unreadable_pictures_are_named_and_the_rest_is_classified(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path
) -> None:
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 30), (0, 80 * int(name), 0)).save(tmp_path / name / "x.png")
    (tmp_path / "2" / "x.png").write_bytes(b"not a picture")
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--json",
        "--images", str(tmp_path / "1"), str(tmp_path / "2"), str(tmp_path / "3" / "*.png"),
    )  # fmt: skip
    assert run.code == 1
    assert [line["label"] for line in run.lines] == ["1", "3"]
    assert f"skipped: {tmp_path / '2' / 'x.png'}: no picture" in run.err
    assert (run.summary["samples"], run.summary["unreadable"]) == (2, 1)


def test_another_bundle_than_the_clouds_is_refused(cloud: CloudProcess, tmp_path: Path) -> None:
    other = rename_classes(make_bundle(tmp_path / "other", seed=7), DIGITS)
    run = run_edge("--bundle", str(other.path), "--cloud", cloud.listen, "--dataset", "digits")
    assert run.code == 6
    assert_one_line(run.err, cloud.listen, "FAILED_PRECONDITION", "--bundle")


def test_an_edge_whose_codec_tables_differ_is_refused_before_it_sends_a_frame(bundle: Bundle, tmp_path: Path) -> None:
    shape, inputs = bundle.manifest.frame_shape, random_inputs(bundle.manifest.network, 32)
    spikes = wire_frames(load_split(bundle), inputs)
    ours, others = (
        write_codec(
            Bundle.open(Path(shutil.copytree(bundle.path, tmp_path / f"tables{seed}"))),
            make_tables(shape, depth=3, like=spikes, seed=seed).arrays(),
        )
        for seed in (0, 1)
    )
    with cloud_process(tmp_path / "cloud", [ours.path]) as cloud:
        for other in (others, bundle):  # the same weights with other tables, and with none
            run = run_edge("--bundle", str(other.path), "--cloud", cloud.listen, "--dataset", "digits", "--json")
            assert run.code == 6
            assert_one_line(run.err, cloud.listen, "FAILED_PRECONDITION", "--bundle")
        run = run_edge(
            "--bundle", str(ours.path), "--cloud", cloud.listen, "--dataset", "digits", "--json", "--limit", "5"
        )  # fmt: skip
        assert run.code == 0, run.err
        sent = [line["payload_bytes"] for line in run.lines]
        assert cloud.metric("neucodex_cloud_payload_bytes_total") == sum(sent)
    packed = 32 * sum(line["timesteps"] for line in run.lines)
    assert sum(sent) < packed


async def test_a_damaged_head(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(bundle.path, tmp_path / "broken"))
    (broken / "head.safetensors").write_bytes(b"1234")
    with pytest.raises(BundleError, match=r"head\.safetensors.*copy the whole folder again"):
        await edge_here(Bundle.open(broken), cloud.listen, InputConfig(dataset="digits"))


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--bundle", "nowhere", "--dataset", "digits"], 3, ["nowhere", "manifest.json"]),
        (["--images", "shared/errors.py", "shared/erors.py"], 4, ["shared/erors.py: no such file"]),
        (["--dataset", "mnist9000"], 4, ["mnist9000", "known are", "digits"]),
        (["--dataset", "digits", "--threshold", "1.5"], 2, ["--threshold is 1.5", "0..1"]),
        (["--dataset", "cifar10"], 4, ["cifar10", "no class in common", "choose another"]),
        ([], 2, ["--images", "--dataset"]),
        (["--images", "a.png", "--events", "b.bin", "c.bin"], 2, ["one of", "--images and --events were given"]),
    ],
)
def test_what_is_wrong_here_is_said_in_one_line(bundle: Bundle, flags: list[str], code: int, said: list[str]) -> None:
    given = flags if "--bundle" in flags else ["--bundle", str(bundle.path), *flags]
    run = run_edge("--cloud", "127.0.0.1:1", *given)
    assert run.code == code
    assert run.out == ""
    assert_one_line(run.err, *said)


def test_a_source_in_the_environment_does_not_beat_another_ones_flag(bundle: Bundle) -> None:
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", "127.0.0.1:1", "--images", "a.png",
        environment={"NEUCODEX_EVENTS": "b.bin"},
    )  # fmt: skip
    assert run.code == 2
    assert_one_line(run.err, "--images and --events were given, here or in the environment")


def test_no_cloud_within_the_deadline(bundle: Bundle) -> None:
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", "127.0.0.1:1", "--dataset", "digits", "--deadline", "0.2"
    )  # fmt: skip
    assert run.code == 5
    waiting, error = run.err.splitlines()
    assert "Connection refused" in waiting
    assert "waiting up to 1.2 s for a cloud to start (--start-deadline)" in waiting
    for words in ("no cloud at 127.0.0.1:1 within 1.2 s", "neucodex-cloud", "--deadline"):
        assert words in error
    assert "`neucodex-edge doctor --cloud 127.0.0.1:1` finds out which" in error


def test_an_edge_that_is_there_first_waits_until_the_cloud_is_warm(bundle: Bundle, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with edge_process(
        "--bundle", str(bundle.path), "--cloud", address, "--dataset", "digits", "--limit", "5", "--json",
        "--deadline", "0.5", "--start-deadline", str(DEADLINE),
    ) as edge:  # fmt: skip
        assert edge.stderr is not None
        assert "waiting up to" in edge.stderr.readline()
        with cloud_process(tmp_path, [bundle.path], "--listen", address):
            out, err = edge.communicate(timeout=DEADLINE)
    assert edge.returncode == 0, err
    assert len(out.splitlines()) == 5 + 1


def test_a_metrics_port_that_is_taken(bundle: Bundle, cloud: CloudProcess) -> None:
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--metrics", cloud.metrics_address
    )  # fmt: skip
    assert run.code == 2
    assert_one_line(run.err, cloud.metrics_address, "--metrics")


def test_ctrl_c_says_how_far_it_came_and_frees_the_slot(bundle: Bundle, cloud: CloudProcess) -> None:
    with edge_process(
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--json", "--full-t"
    ) as edge:
        assert edge.stdout is not None
        first = edge.stdout.readline()
        edge.send_signal(signal.SIGINT)
        rest, err = edge.communicate()
    assert edge.returncode == 130
    assert json.loads(first)["sample"] == "digits/test/0"
    *samples, last = (json.loads(line) for line in rest.splitlines())
    done = 1 + len(samples)
    assert done < 360
    assert last["summary"]["samples"] == done
    # Lines of progress may stand before it: on a busy machine they come in between.
    assert err.splitlines()[-1] == f"interrupted: {done} of 360 samples done"
    assert "Traceback" not in err


def test_fail_ends_the_run_with_what_was_done_when_the_cloud_goes_away(bundle: Bundle, tmp_path: Path) -> None:
    with (
        cloud_process(tmp_path, [bundle.path]) as cloud,
        edge_process(
            "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--json", "--full-t",
            "--on-loss", "fail", "--deadline", "3",
        ) as edge,
    ):  # fmt: skip
        assert edge.stdout is not None
        edge.stdout.readline()
        cloud.signal(signal.SIGKILL)
        rest, err = edge.communicate()
    assert edge.returncode == 5
    done = len(rest.splitlines())  # and one less the summary, and one more read above
    assert json.loads(rest.splitlines()[-1])["summary"]["samples"] == done
    assert f"stopped: {done} of 360 samples done" in err
    assert re.search(rf"error: the link to the cloud at {cloud.listen} was lost .*still runs and is reachable", err)
    assert "Traceback" not in err


def test_a_bundle_without_a_local_exit_cannot_fall_back(bundle: Bundle) -> None:
    for flags in (["--on-loss", "fallback"], ["--local-exit"]):
        run = run_edge("--bundle", str(bundle.path), "--cloud", "127.0.0.1:1", "--dataset", "digits", *flags)
        assert run.code == 2
        assert_one_line(run.err, str(bundle.path), "no local exit", " ".join(flags), "--on-loss wait")


def assert_one_line(err: str, *words: str) -> None:
    """One line for people, with these words."""
    assert len(err.splitlines()) == 1, err
    for word in words:
        assert word in err
