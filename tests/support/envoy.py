"""A real Envoy on loopback for tests, with the deployed configuration and clouds that the test names."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import DEADLINE, wait_for
from tests.support.prometheus import ROOT, free_port

CONFIG = ROOT / "deploy/envoy/envoy.yaml"
PROGRAM = Path(sys.executable).with_name("envoy")


class Envoy:
    """A running one: `listen` is what edges connect to."""

    def __init__(self, listen: str, admin: str, endpoints: Path) -> None:
        self.listen = listen
        self._admin = admin
        self._endpoints = endpoints

    def healthy(self) -> set[str]:
        """The clouds that are given new streams."""
        lines = self.ask("clusters").splitlines()
        ending = "::health_flags::healthy"
        return {line.removesuffix(ending).removeprefix("clouds::") for line in lines if line.endswith(ending)}

    def direct(self, clouds: Sequence[str]) -> None:
        """From now on these are the clouds, in place of what DNS would say."""
        write_endpoints(self._endpoints, clouds)

    def ask(self, path: str) -> str:
        """A page of its administration port."""
        with urllib.request.urlopen(f"http://{self._admin}/{path}", timeout=DEADLINE) as page:
            text: str = page.read().decode()
        return text


@contextmanager
def envoy(folder: Path, clouds: Sequence[str], stream_seconds: float | None = None) -> Iterator[Envoy]:
    """Envoy before `clouds`, ready, all of them healthy; ended at the end.

    A stream may last for `stream_seconds`, by default as long as deployed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    endpoints, config = folder / "endpoints.json", folder / "envoy.json"
    write_endpoints(endpoints, clouds)
    listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    deployed = CONFIG.read_text()
    if stream_seconds is not None:
        assert "max_stream_duration: 1800s" in deployed
        deployed = deployed.replace("max_stream_duration: 1800s", f"max_stream_duration: {stream_seconds}s")
    config.write_text(json.dumps(here(yaml.safe_load(deployed), listen, admin, endpoints)))
    log = folder / "envoy.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "-c", config, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"],
            stdout=output,
            stderr=output,
        )
    running = Envoy(listen, admin, endpoints)
    try:
        wait_for(lambda: process.poll() is not None or _answers(running), "Envoy to be ready")
        assert process.poll() is None, log.read_text()
        wait_for(lambda: running.healthy() == set(clouds), "all clouds to be healthy")
        yield running
    finally:
        process.terminate()
        process.wait(DEADLINE)


def here(config: dict[str, Any], listen: str, admin: str, endpoints: Path) -> dict[str, Any]:
    """The same configuration on these addresses, with clouds from a file instead of from DNS."""
    config["node"] = {"id": "test", "cluster": "test"}
    config["admin"]["address"] = _socket(admin)
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = _socket(listen)
    (cluster,) = config["static_resources"]["clusters"]
    for discovery in ("load_assignment", "dns_refresh_rate"):
        del cluster[discovery]
    cluster["type"] = "EDS"
    cluster["eds_cluster_config"] = {
        "eds_config": {
            "resource_api_version": "V3",
            "path_config_source": {"path": str(endpoints), "watched_directory": {"path": str(endpoints.parent)}},
        }
    }
    return config


def write_endpoints(path: Path, clouds: Sequence[str]) -> None:
    """Envoy's file of addresses, replaced at once."""
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "clouds",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(cloud)}} for cloud in clouds]}],
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"resources": [assignment]}))
    partial.replace(path)


def _socket(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _answers(running: Envoy) -> bool:
    try:
        return running.ask("ready").strip() == "LIVE"
    except OSError:
        return False
