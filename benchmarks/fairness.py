"""`neucodex-bench fairness`: what an honest edge feels of others that send as much as they can, each by its own token.

The honest edge classifies the same pictures in turns: alone, and beside the others, whose streams send frame after
frame without a pause. All are known by tokens of one file, as in the field.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.dataset_samples import samples_of
from benchmarks.edge.base import QUIET_CLOUD
from benchmarks.load.frames import encode
from benchmarks.load.generator import Generator
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Findings, Goal
from benchmarks.worker import WorkerProcess
from shared.bundle import Bundle

PICTURES = 64
"""That the others send, over and over."""

MOST_TIMES = 3.0
WARM_S = 1.0
FOR_EVER_S = 86_400.0
FRAMES = "neucodex_cloud_frames_total"


def measure(
    bundle: Path,
    dataset: str,
    data: Path | None,
    *,
    identities: int,
    streams: int,
    rounds: int,
    samples: int,
    rate: float,
) -> Findings:
    """Run an edge alone and beside hostile ones.

    Args:
        bundle: of all.
        dataset: of the pictures.
        data: where it is; None if it is in the package.
        identities: hostile ones, with a token each.
        streams: of all of them together.
        rounds: of each kind, in turns.
        samples: that the honest edge classifies in each.
        rate: samples a second of the honest edge, at most.
    """
    opened = Bundle.open(bundle)
    messages = encode(opened, [sample.pixels for sample in samples_of(opened, dataset, data, PICTURES)])
    honest, *hostile = (secrets.token_urlsafe(24) for _ in range(identities + 1))
    runs: dict[str, list[dict[str, Any]]] = {"idle": [], "attacked": []}
    with tempfile.TemporaryDirectory(prefix="neucodex-fairness-") as scratch:
        folder = Path(scratch)
        (folder / "honest").write_text(f"{honest}\n")
        named = [("honest", honest), *((f"hostile {number}", token) for number, token in enumerate(hostile, 1))]
        (folder / "tokens").write_text("".join(f"# {name}\n{token}\n" for name, token in named))
        for file in ("honest", "tokens"):
            (folder / file).chmod(0o600)
        edge = ["--bundle", str(bundle), "--dataset", dataset, "--limit", str(samples), "--rate", str(rate)]
        edge += [] if data is None else ["--data", str(data)]
        edge += ["--token-file", str(folder / "honest")]
        flags = (*QUIET_CLOUD[:2], "--log-level", "error", "--token-file", folder / "tokens")
        with CloudProcess([bundle], folder, *flags) as cloud:
            edge += ["--cloud", cloud.wait_ready().listen]
            for _ in range(rounds):
                runs["idle"].append(_run(edge, folder, cloud))
                with WorkerProcess(partial(Generator, messages)) as others:  # its end ends them
                    others.call(Generator.open, cloud.listen, streams, hostile)
                    others.begin(Generator.drive, time.monotonic(), FOR_EVER_S)
                    time.sleep(WARM_S)
                    runs["attacked"].append(_run(edge, folder, cloud))
            limited = cloud.metrics().get("neucodex_cloud_limited_total", 0.0)
    return _findings(runs, samples, {"identities": identities, "streams": streams}, limited)


def _run(flags: list[str], folder: Path, cloud: CloudProcess) -> dict[str, Any]:
    before, began = cloud.metrics()[FRAMES], time.monotonic()
    with EdgeProcess(flags, folder / "edge.log") as edge:
        said = edge.wait()
    answered = (cloud.metrics()[FRAMES] - before) / (time.monotonic() - began)
    asked = ("latency_ms_p50", "latency_ms_p99", "failed")
    of_all = {"frames of all that the cloud answered a second": round(answered, 1)}
    return {"verdicts": said["answered_by"]["cloud"], **{name: said[name] for name in asked}, **of_all}


def _findings(runs: dict[str, list[dict[str, Any]]], samples: int, others: dict[str, int], limited: float) -> Findings:
    p99 = {kind: statistics.median(run["latency_ms_p99"] for run in made) for kind, made in runs.items()}
    lost = sum(samples - run["verdicts"] for made in runs.values() for run in made)
    note = f"{p99['idle']:.1f} ms idle, {p99['attacked']:.1f} ms attacked, medians of the rounds"
    return Findings(
        n={"rounds": len(runs["idle"]), "samples a round": samples, **others},
        results={**runs, "times that a share was used up": limited},
        targets=[
            Goal("p99 of an honest edge among hostile ones", MOST_TIMES, p99["attacked"] / p99["idle"], "times idle",
                 "lower", note),
            Goal("samples without a verdict of the cloud", 0, lost, "samples", "lower"),
        ],
    )  # fmt: skip
