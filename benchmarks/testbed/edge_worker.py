"""The edge's side of the testbed, a process that may run on another machine: jobs in as JSON lines, rows out.

`python -m benchmarks.testbed.edge_worker --bundle DIR --uncompressed DIR --dataset NAME`, in a checkout.
Each line of standard input is a job: {"alternative": {...}, "cloud": "HOST:PORT", "n": 200, "seconds": 60,
"share": 0.1, "interface": "tun0", "first": 0}. The worker writes a line for each sample, and then {"done": ...}.
{"measure": repeats, "share": 0.1} measures this machine, held to a share of a core (`benchmarks.testbed.cpu_throttle`).
The end of the input ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import grpc
import numpy as np

from benchmarks.dataset_samples import samples_of
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.classifiers import open_classifier
from benchmarks.testbed.cpu_throttle import CpuThrottle, ThrottledHead
from benchmarks.testbed.whole_network import WholeNetwork
from edge_client.heads.factory import open_head
from shared.bundle import Bundle
from shared.command_line import existing_path, option, run
from shared.errors import NeucodexError
from shared.plain_data import dataclass_from

WARM_UP = 3
WARM_UP_SHARE = 0.1
"""Of the time: slow samples warm up in fewer."""

LEAST_S = 10.0
"""For a run, and for a sample: a broken link is no figure."""

ETHERNET_HEADER = 14


class TestbedEdge:
    """What stays loaded between jobs."""

    def __init__(
        self,
        bundles: Mapping[str, Bundle],
        dataset: str,
        data: Path | None,
        limit: int,
        threads: int,
        plain: Path | None = None,
    ) -> None:
        self._plain = plain
        self._bundles = bundles
        self._threads = threads
        self._samples = samples_of(bundles["bottleneck"], dataset, data, limit)
        self._whole = WholeNetwork(bundles["uncompressed"], threads) if "uncompressed" in bundles else None

    def measure(self, repeats: int, share: float) -> dict[str, Any]:
        """Milliseconds of the head and of the whole network here, held to a share of a core.

        `head_start_ms` is what a sample costs once: in `rate` the whole head. `head_ms` and `whole_ms` are of each
        timestep.
        """
        pixels, throttle, whole = self._samples[0].pixels, CpuThrottle(share), self._whole
        plain = open_head(self._bundles["bottleneck"], threads=self._threads)
        head = ThrottledHead(plain, throttle)
        timesteps = self._bundles["bottleneck"].manifest.network.timesteps

        def head_alone(steps: int) -> None:
            sample = head.start(pixels)
            for _ in range(steps):
                sample.step()

        def median_ms(classify: Callable[[], object]) -> float:
            times = []
            for _ in range(repeats):
                throttle.begin()
                began = time.perf_counter()
                classify()
                throttle.wait()
                times.append(time.perf_counter() - began)
            return float(np.median(times)) * 1000

        one, all_steps = median_ms(lambda: head_alone(1)), median_ms(lambda: head_alone(timesteps))
        step = max(all_steps - one, 0.0) / (timesteps - 1) if timesteps > 1 else 0.0
        return {
            "head_start_ms": max(one - step, 0.0),
            "head_ms": step,
            "whole_ms": median_ms(lambda: whole.classify(pixels, early_exit=False)) / timesteps if whole else None,
            "runtime": type(plain).__name__,
        }

    async def work(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """One alternative over `n` samples, or as many as there is time for; their rows go to standard output."""
        alternative = dataclass_from(Alternative, job["alternative"])
        bundle = self._bundles[alternative.network]
        counters, throttle = Counters(job.get("interface", "")), CpuThrottle(job["share"])
        began, limit = time.monotonic(), max(job["seconds"], LEAST_S)
        done, first = 0, job.get("first", 0)
        async with open_classifier(
            alternative, bundle, job["cloud"], throttle, self._threads, self._whole, self._plain
        ) as classifier:
            for sample in self._samples[: job.get("warm_up", WARM_UP)]:
                await asyncio.wait_for(classifier.classify(sample), limit)
                if time.monotonic() - began > WARM_UP_SHARE * limit:
                    break
            before = counters.read()
            for sample in self._samples[first : first + job["n"]]:
                if time.monotonic() - began > limit:
                    break
                throttle.begin()
                busy = time.process_time()
                row = await asyncio.wait_for(classifier.classify(sample), limit)
                row["busy_core_s"] = (time.process_time() - busy) / job["share"]
                now = counters.read()
                if before is not None and now is not None:
                    row |= dict(zip(COUNTED, (b - a for a, b in zip(before, now, strict=True)), strict=True))
                before = now
                say({"sample": sample.id, "label": -1 if sample.label is None else sample.label, **row})
                done += 1
        return {"done": done}


COUNTED = ("link_up_bytes", "link_up_packets", "link_down_bytes", "link_down_packets")


class Counters:
    """What an interface has sent and received, IP headers included and Ethernet's not; for "" none."""

    def __init__(self, interface: str) -> None:
        folder = Path(f"/sys/class/net/{interface}")
        self._folder = folder / "statistics" if interface else None
        self._header = ETHERNET_HEADER if interface and (folder / "type").read_text().strip() == "1" else 0

    def read(self) -> tuple[int, ...] | None:
        """In the order of COUNTED."""
        if self._folder is None:
            return None
        found: list[int] = []
        for way in ("tx", "rx"):
            size, packets = (int((self._folder / f"{way}_{what}").read_text()) for what in ("bytes", "packets"))
            found += [size - self._header * packets, packets]
        return tuple(found)


def say(message: Mapping[str, Any]) -> None:
    """One line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


@click.command()
@option("--bundle", type=existing_path, required=True, help="With the bottleneck.")
@option("--uncompressed", type=existing_path, help="Without.")
@option("--dataset", required=True, help="Its test part is classified.")
@option("--data", type=existing_path, help="Where the data set is.")
@option("--limit", type=int, default=1000, help="Samples loaded.")
@option("--threads", type=int, default=1, help="Of an operation.")
@option("--plain", type=existing_path, help="The folder with the plain network's graphs.")
def main(
    bundle: Path,
    uncompressed: Path | None,
    dataset: str,
    data: Path | None,
    limit: int,
    threads: int,
    plain: Path | None,
) -> None:
    """Do the testbed's jobs on this machine."""
    bundles = {"bottleneck": Bundle.open(bundle)}
    if uncompressed is not None:
        bundles["uncompressed"] = Bundle.open(uncompressed)
    worker = TestbedEdge(bundles, dataset, data, limit, threads, plain)
    say({"ready": True})
    # One loop for all jobs: gRPC calls back into the loop that it met first, and complains when that is closed.
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            job = json.loads(line)
            try:
                if "measure" in job:
                    say({"done": worker.measure(job["measure"], job["share"])})
                else:
                    say(runner.run(worker.work(job)))
            except asyncio.TimeoutError:
                say({"failed": "no time for it: a sample took longer than the whole run may"})
            except (NeucodexError, OSError, grpc.aio.AioRpcError) as error:
                say({"failed": str(error)})


if __name__ == "__main__":
    run(main)
