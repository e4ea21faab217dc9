"""Where `make setup` takes PyTorch from: its choice, and what pip then installs, with small indexes on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.prometheus import ROOT, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the usual index has CPU wheels")

TORCH = "torch==2.13.0"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def put_wheel(index: Path, name: str, version: str, *needs: str) -> None:
    """A package of nothing but its description, in a simple index."""
    folder, stem = index / name.replace("_", "-"), f"{name}-{version}"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of three indexes: `cuda` and `configured-cpu` are what pip may be set up with, `cpu` is PyTorch's."""
    folder = tmp_path_factory.mktemp("indexes")
    put_wheel(folder / "cuda", "torch", "2.13.0", "nvidia-cublas")
    put_wheel(folder / "cuda", "nvidia_cublas", "13.0")
    put_wheel(folder / "cpu", "torch", "2.13.0+cpu")
    put_wheel(folder / "configured-cpu", "torch", "2.13.0+local")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter without packages, which pip installs for."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin/python"


class Machine:
    """A machine whose pip knows one index."""

    def __init__(self, python: Path, configured: str, cpu: str) -> None:
        keep = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        self._environment = {
            **{name: value for name, value in keep.items() if not name.lower().endswith("proxy")},
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_PYTHON": str(python),
            "PIP_INDEX_URL": configured,
            "TORCH_CPU_INDEX": cpu,
        }

    def also_knows(self, index: str) -> Machine:
        self._environment["PIP_EXTRA_INDEX_URL"] = index
        return self

    def choose(self, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "deploy/torch_index.py", TORCH],
            env={**self._environment, **variables}, cwd=ROOT, check=False, capture_output=True, text=True,
        )  # fmt: skip

    def installed(self, **variables: str) -> dict[str, str]:
        """What pip would install with the flags that were chosen: versions by name."""
        chosen = self.choose(**variables)
        assert chosen.returncode == 0, chosen.stderr
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
        done = subprocess.run(
            [*pip, *chosen.stdout.split(), TORCH], env=self._environment, check=True, capture_output=True, text=True
        )
        found = [package["metadata"] for package in json.loads(done.stdout)["install"]]
        return {metadata["name"]: metadata["version"] for metadata in found}


@pytest.fixture
def nowhere() -> str:
    return f"http://127.0.0.1:{free_port()}/cpu"


def test_cpu_wheels_are_taken_where_they_are_in_reach(served: str, python: Path) -> None:
    assert Machine(python, f"{served}/cuda", f"{served}/cpu").installed() == {"torch": "2.13.0+cpu"}


def test_an_index_that_has_a_cpu_build_will_do(served: str, python: Path, nowhere: str) -> None:
    assert Machine(python, f"{served}/configured-cpu", nowhere).installed() == {"torch": "2.13.0+local"}
    machine = Machine(python, f"{served}/configured-cpu", nowhere).also_knows(f"{served}/configured-cpu")
    assert machine.choose().stdout.strip() == "", "pip would try the other one again and again"


def test_cuda_is_never_fetched_unasked(served: str, python: Path, nowhere: str) -> None:
    refused = Machine(python, f"{served}/cuda", nowhere).choose()
    assert refused.returncode != 0
    assert not refused.stdout
    for word in ("error: ", "several GB of CUDA", nowhere, "TORCH_INDEX=", "CUDA=1"):
        assert word in refused.stderr


def test_cuda_that_was_asked_for_is_fetched(served: str, python: Path) -> None:
    machine = Machine(python, f"{served}/cuda", f"{served}/cpu")
    assert machine.installed(CUDA="1") == {"torch": "2.13.0", "nvidia_cublas": "13.0"}


def test_an_index_that_was_named_is_taken(served: str, python: Path) -> None:
    machine = Machine(python, f"{served}/cuda", f"{served}/cpu")
    assert machine.installed(TORCH_INDEX=f"{served}/configured-cpu") == {"torch": "2.13.0+local"}
