"""Events beside what one could send instead: accuracy, bytes and latency over the same links, and a live stream."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.events.figure import draw
from benchmarks.events.live import listening, measure_live
from benchmarks.events.rivals import RIVALS
from benchmarks.events.still import measure_still
from benchmarks.events.throughput import measure_throughput
from benchmarks.links.profiles import BY_NAME, LinkProfile
from benchmarks.processes import CloudProcess, EdgeProcess, ServerProcess, start
from benchmarks.record import Findings, Goal
from benchmarks.testbed.environments import Environment, open_environment
from shared.bundle import Bundle
from shared.errors import ConfigError, NeucodexError, SourceError

Figures = dict[str, Any]


def measure(
    folder: Path,
    *,
    bundle: Path,
    data: Path,
    links: Sequence[str],
    per_class: int | None,
    seconds: float,
    windows_ms: Sequence[int],
) -> Findings:
    """All of it; N-MNIST's test recordings, each one window.

    Args:
        folder: of the record; gets a line for each recording, form and link, and the figure.
        bundle: of a network for them.
        data: holds N-MNIST.
        links: between edge and cloud, by name.
        per_class: recordings of each class; None for all.
        seconds: of each live stream.
        windows_ms: lengths of the windows that live streams are cut into.

    Raises:
        SourceError: no recordings.
        ConfigError: a link is unknown, or the bundle takes pictures.
    """
    if unknown := [name for name in links if name not in BY_NAME]:
        raise ConfigError(f"--links {unknown[0]}: known are {', '.join(BY_NAME)}")
    profiles, opened = [BY_NAME[name] for name in links], Bundle.open(bundle)
    if opened.manifest.network.input_kind != "events":
        raise ConfigError(f"--bundle {bundle} takes pictures: this measures a network for events")
    recordings = _recordings(data, opened, per_class)
    labels = [opened.manifest.class_names.index(path.parent.name) for path in recordings]
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Figures] = []
    with tempfile.TemporaryDirectory() as temporary, open_environment(None, None, "") as environment:
        scratch = Path(temporary)
        for lines in _all_rows(environment, opened, recordings, profiles, scratch):
            right = [line["prediction"] == label for line, label in zip(lines, labels, strict=True)]
            rows.append(_row(lines, right))
            with (folder / "samples.jsonl").open("a") as kept:
                for path, line, ok in zip(recordings, lines, right, strict=True):
                    named = str(path.relative_to(data))
                    kept.write(json.dumps({**line, "recording": named, "right": ok}) + "\n")
        live = [
            measure_live(environment, opened, recordings, link, scratch, seconds, window_ms)
            for link in profiles
            for window_ms in windows_ms
        ]
    draw(rows, folder / "events.png")
    still = [measure_still(opened, recordings, window_ms) for window_ms in (100, 350)]
    throughput = measure_throughput(recordings)
    results = {
        "rows": rows,
        "live": live,
        "still": still,
        "throughput": throughput,
        "said": "rivals run the bundle's own network whole in the cloud, to its own exit; raw, lossless and counts "
        "give it the same frames",
    }
    n = {"recordings": len(recordings), "links": list(links), "live_seconds": seconds, "windows_ms": list(windows_ms)}
    return Findings(n, results, _goals(live, throughput))


def _all_rows(
    environment: Environment, bundle: Bundle, recordings: Sequence[Path], links: Sequence[LinkProfile], scratch: Path
) -> Iterable[list[Figures]]:
    prefix = environment.cloud_prefix
    whole = ["benchmarks.events.whole_server", str(bundle.path), str(scratch / "whole.json")]
    whole += ["--listen", environment.listen]
    with (
        CloudProcess(
            [bundle.path], scratch, *listening(environment), log=scratch / "cloud.log", prefix=prefix
        ) as cloud,
        ServerProcess(whole, scratch / "whole.json", log=scratch / "whole.log", prefix=prefix) as server,
    ):
        services = {"cloud": cloud.wait_ready().listen, "whole": server.wait_ready().listen}
        for profile in links:
            with environment.link(profile, services) as link:
                about = {"link": profile.name, "means": link.means}
                for form in RIVALS:
                    lines = _rival(environment, form, link.addresses["whole"], bundle, recordings, scratch)
                    yield [{**about, **line} for line in lines]
                lines = _pair(environment, link.addresses["cloud"], bundle, recordings, scratch)
                yield [{**about, **line} for line in lines]


def _rival(
    environment: Environment, form: str, address: str, bundle: Bundle, recordings: Sequence[Path], scratch: Path
) -> list[Figures]:
    out = scratch / f"{form}.jsonl"
    arguments = ["benchmarks.events.rival_edge", form, address, str(bundle.path), str(out), *map(str, recordings)]
    process = start(arguments, prefix=environment.edge_prefix)
    if process.wait() != 0:
        raise NeucodexError(f"the edge that sends {form} ended with exit code {process.returncode}")
    return [{"form": form, **json.loads(line)} for line in out.read_text().splitlines()]


def _pair(
    environment: Environment, address: str, bundle: Bundle, recordings: Sequence[Path], scratch: Path
) -> list[Figures]:
    flags = ["--bundle", str(bundle.path), "--cloud", address, "--power-meter", "none", "--insecure-anywhere"]
    flags += ["--execution", bundle.execution, "--events", *map(str, recordings)]
    names = bundle.manifest.class_names
    with EdgeProcess(flags, scratch / "edge.log", prefix=environment.edge_prefix) as edge:
        summary = edge.wait()
        return [
            {
                "form": "pair",
                "recording": line["sample"],
                "prediction": names.index(line["prediction"]),
                "bytes": line["payload_bytes"],
                "wire_bytes_mean": summary["wire_bytes_per_sample"],
                "latency_s": line["latency_ms"] / 1e3,
            }
            for line in edge.samples
        ]


def _row(lines: Sequence[Figures], right: Sequence[bool]) -> Figures:
    first = lines[0]
    latencies = [line["latency_s"] * 1e3 for line in lines]
    return {
        "link": first["link"],
        "means": first["means"],
        "form": first["form"],
        "n": len(lines),
        "accuracy": float(np.mean(right)),
        "bytes_mean": float(np.mean([line["bytes"] for line in lines])),
        "bytes_median": float(np.median([line["bytes"] for line in lines])),
        **({"wire_bytes_mean": first["wire_bytes_mean"]} if "wire_bytes_mean" in first else {}),
        "latency_ms": {str(q): float(np.percentile(latencies, q)) for q in (25, 50, 75, 95)},
    }


def _recordings(data: Path, bundle: Bundle, limit: int | None) -> list[Path]:
    found: list[Path] = []
    for name in bundle.manifest.class_names:
        found += sorted((data / "N-MNIST" / "Test" / name).glob("*.bin"))[:limit]
    if not found:
        raise SourceError(f"{data} holds no N-MNIST/Test")
    return found


def _goals(live: Sequence[Figures], throughput: Figures) -> list[Goal]:
    goals = [
        Goal("binning on the fly, one core", 2.0, throughput["plain"]["mev_per_cpu_s"], "Mev/s", "higher"),
    ]
    for row in live:
        where = f"live, {row['link']}, {row['window_ms']} ms"
        goals.append(Goal(f"{where}: windows later than one window", 0, row["late_windows"], "windows", "lower"))
        goals.append(Goal(f"{where}: windows lost", 0, row["lost_windows"], "windows", "lower"))
    return goals
