"""The edge in tests: as a process of its own, or in this process against a real cloud."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.processes import start
from edge_client.cli.classify import run_classify
from edge_client.config import EdgeConfig
from edge_client.input_config import InputConfig
from edge_client.output_config import OutputConfig
from shared.bundle import Bundle
from shared.bundle_writer import write_bundle
from shared.execution import Execution
from tests.support.processes import DEADLINE

ROOT = Path(__file__).resolve().parents[2]
Line = dict[str, Any]


@dataclass(frozen=True)
class EdgeRun:
    """What an edge left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Line]:
        """Standard output of a --json run, without the summary."""
        return [line for line in map(json.loads, self.out.splitlines()) if "summary" not in line]

    @property
    def summary(self) -> Line:
        """The summary of a --json run, which must be its last line."""
        last: Line = json.loads(self.out.splitlines()[-1])["summary"]
        return last


def run_edge(*flags: str, environment: dict[str, str] | None = None) -> EdgeRun:
    """`python -m edge_client classify` to its end."""
    with _edge(flags, environment or {}) as process:
        out, err = process.communicate(timeout=DEADLINE)
    return EdgeRun(process.returncode, out, err)


@contextmanager
def edge_process(*flags: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m edge_client classify`, running; killed at the end if it still does."""
    with _edge(flags, {}) as process:
        yield process


async def edge_here(bundle: Bundle, cloud: str | tuple[str, ...], inputs: InputConfig, **settings: Any) -> EdgeRun:
    """An edge with --json in this process, in the bundle's execution."""
    clouds = (cloud,) if isinstance(cloud, str) else cloud
    addresses = tuple((host, int(port)) for host, _, port in (address.rpartition(":") for address in clouds))
    out, err = io.StringIO(), io.StringIO()
    config = EdgeConfig(bundle.path, addresses, execution=bundle.execution, **settings)
    code = await run_classify(config, inputs, OutputConfig(json=True), out, err)
    return EdgeRun(code, out.getvalue(), err.getvalue())


def rename_classes(bundle: Bundle, names: tuple[str, ...]) -> Bundle:
    """The same bundle with other class names (and so another fingerprint), written over it."""
    manifest = replace(bundle.manifest, class_names=names)
    return write_bundle(bundle.path, manifest, bundle.weights("head"), bundle.weights("tail"))


def with_default_execution(bundle: Bundle, execution: Execution, path: Path) -> Path:
    """Write the bundle into a new folder with this default execution, which a cloud runs without more flags."""
    manifest = replace(bundle.manifest, default_execution=execution)
    return write_bundle(path, manifest, bundle.weights("head"), bundle.weights("tail")).path


@contextmanager
def _edge(flags: tuple[str, ...], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    if "--tls-ca" not in flags:
        flags = (*flags, "--insecure")
    process = start(
        ["edge_client", "classify", *flags],
        variables={"OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # A test's SIGINT is for this process, and the terminal's is for the tests.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
