"""The compose files: what they promise, and that the variables they set are ones that somebody reads."""

from __future__ import annotations

import re
from typing import Any

import click
import pytest
import yaml

from cloud_server.__main__ import command as cloud_command
from edge_client.__main__ import cli as edge_commands
from tests.support.prometheus import DEPLOYED, ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
WHOLE = ("docker-compose.yml", "docker-compose.edge.yml")
ALL = (*WHOLE, "docker-compose.gpu.yml", "docker-compose.tls.yml")


def services(file: str) -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return read


SERVICES = [pytest.param(service, id=f"{file} {name}") for file in WHOLE for name, service in services(file).items()]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_do_little(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["mem_limit"]
    assert service["restart"] == "unless-stopped"
    for volume in service["volumes"]:
        assert volume.endswith(":ro") or not volume.startswith((".", "/", "$")), f"writes to the host: {volume}"
    for port in service.get("ports", ()):
        assert port.startswith(("127.0.0.1:", "${METRICS_ADDRESS:-127.0.0.1}:")), f"open to others: {port}"


@pytest.mark.parametrize("file", ALL)
def test_every_variable_is_an_option_of_its_command(file: str) -> None:
    known = {"cloud": variables(cloud_command), "edge": variables(edge_commands.commands["classify"])}
    for name, service in services(file).items():
        if name in known:
            assert service["environment"].keys() <= known[name]


@pytest.mark.parametrize("file", ALL)
def test_no_secret_is_written_down(file: str) -> None:
    for service in services(file).values():
        for name, value in service.get("environment", {}).items():
            assert not any(word in name for word in ("PASSWORD", "SECRET")) or value == "true"
            assert not name.endswith(("TOKEN", "KEY")) or str(value).startswith("/certs/")


def test_they_start_in_order_of_health() -> None:
    pair = services("docker-compose.yml")
    assert pair["edge"]["depends_on"] == {"cloud": {"condition": "service_healthy"}}
    assert "HEALTHCHECK" in (ROOT / "deploy/cloud.Dockerfile").read_text()


def test_the_edge_classifies_the_data_set_that_it_is_told_to() -> None:
    edge = services("docker-compose.yml")["edge"]
    assert edge["environment"]["NEUCODEX_DATASET"] == "${DATASET:-digits}"
    assert f"${{DATA_DIR:-no-data}}:{edge['environment']['NEUCODEX_DATA']}:ro" in edge["volumes"]


def test_the_page_sets_what_an_edge_alone_must_be_told_for_every_command() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.edge.yml").read_text()))
    before = (ROOT / "docs/operations.md").read_text().partition("docker compose -f docker-compose.edge.yml")[0]
    assert needed == set(re.findall(r"^ +echo (\w+)=\S+ > \.env", before, re.MULTILINE))


def test_cuda_is_built_for_gpus_alone() -> None:
    plain, gpu = (services(file)["cloud"]["build"]["args"] for file in ("docker-compose.yml", "docker-compose.gpu.yml"))
    assert not {"EXTRA", "TORCH", "TORCH_INDEX"} & plain.keys()
    assert gpu["EXTRA"] == "cloud-torch"
    assert gpu["TORCH"] == re.sub(r".*\nTORCH \?= (\S+)\n.*", r"${TORCH:-\1}", MAKEFILE, flags=re.DOTALL)


@pytest.mark.parametrize("file", ALL)
def test_every_image_of_ours_may_come_from_a_registry(file: str) -> None:
    ours = [service["image"] for service in services(file).values() if "build" in service]
    assert all(image.startswith("${REGISTRY:-}neucodex-") for image in ours)
    assert ours or file == "docker-compose.tls.yml"


def test_prometheus_keeps_what_was_asked_for_and_finds_edges_elsewhere() -> None:
    prometheus = services("docker-compose.yml")["prometheus"]
    assert {flag.partition("=")[0] for flag in prometheus["command"]} >= {
        "--storage.tsdb.retention.time", "--storage.tsdb.retention.size",
    }  # fmt: skip
    (edges,) = [job for job in jobs() if job["job_name"] == "neucodex-edge"]
    (files,) = edges["file_sd_configs"]
    assert files["files"] == ["/edges/*.yml"]
    assert "${EDGES:-no-edges}:/edges:ro" in prometheus["volumes"]


def test_prometheus_looks_where_metrics_are() -> None:
    pair = services("docker-compose.yml")
    for job in jobs():
        (found,) = job["dns_sd_configs"]
        (name,) = found["names"]
        assert pair[name]["environment"]["NEUCODEX_METRICS"] == f"0.0.0.0:{found['port']}"
        assert "watch" in pair[name]["networks"]
        assert job["job_name"] == f"neucodex-{name}"


def jobs() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())["scrape_configs"]
    return found


def variables(command: click.Command) -> set[str]:
    return {str(parameter.envvar) for parameter in command.params if parameter.envvar}
