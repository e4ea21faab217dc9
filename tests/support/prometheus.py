"""A real Prometheus on loopback for tests: scraping, asked, and always ended."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import DEADLINE, wait_for

ROOT = Path(__file__).resolve().parents[2]
DEPLOYED = ROOT / "deploy/prometheus"
FETCHED = ROOT / "build/prometheus/usr/bin"
"""Where `make prometheus` puts it."""


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; without it the test is skipped."""
    found = shutil.which(name) or shutil.which(name, path=FETCHED)
    if found is None:
        pytest.skip(f"no {name} here: `make prometheus` fetches Debian's, or install Prometheus")
    return found


@dataclass(frozen=True)
class Series:
    """One line of an answer: labels and the value now."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """A running one."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expression: str) -> list[Series]:
        """What PromQL gives now; a scalar is a series without labels."""
        data = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its state and health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", timeout=DEADLINE) as answer:
            data: dict[str, Any] = json.load(answer)["data"]
        return data


@contextmanager
def prometheus(folder: Path, targets: dict[str, list[str]]) -> Iterator[Prometheus]:
    """A Prometheus with the deployed configuration and rules, but these targets for its jobs, read each second."""
    server = program("prometheus")
    config = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOYED / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                server,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: process.poll() is not None or _ready(address), "Prometheus to be ready")
        assert process.poll() is None, log.read_text()
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(DEADLINE)


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=DEADLINE):
            return True
    except OSError:
        return False
