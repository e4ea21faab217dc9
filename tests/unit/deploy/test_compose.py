"""The compose files: what they promise, and that the variables they set are ones that somebody reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from cloud_server.__main__ import command as cloud_command
from edge_client.__main__ import cli as edge_commands
from edge_client.input_config import InputConfig
from edge_client.output_config import OutputConfig
from shared.flags import from_flags
from tests.support.prometheus import DEPLOYED, ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
WHOLE = ("docker-compose.yml", "docker-compose.edge.yml")
ALL = (*WHOLE, "docker-compose.gpu.yml", "docker-compose.tls.yml", "docker-compose.camera.yml")


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
            assert not any(word in name for word in ("PASSWORD", "SECRET")) or value == "true" or name.endswith("_FILE")
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


EDGE_ALONE = ("docker-compose.edge.yml",)
WITH_CAMERA = (*EDGE_ALONE, "docker-compose.camera.yml")


def edge_alone(monkeypatch: pytest.MonkeyPatch, *files: str, **settings: str) -> tuple[InputConfig, OutputConfig]:
    """What the edge makes of its environment, as these files and settings give it."""
    settings.setdefault("CLOUD", "cloud.test:50052")
    for file in files:
        for name, value in services(file)["edge"]["environment"].items():
            monkeypatch.setenv(name, re.sub(r"\$\{(\w+)(?::[-?])?(.*?)\}", lambda m: settings.get(m[1], m[2]), value))
    command = edge_commands.commands["classify"]
    values = command.make_context("classify", []).params
    return from_flags(InputConfig, values), from_flags(OutputConfig, values)


def test_an_edge_alone_watches_a_folder_and_delivers_into_a_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, outputs = edge_alone(monkeypatch, *EDGE_ALONE)
    assert (inputs.watch, inputs.video) == (Path("/pictures"), None)
    assert (outputs.results, outputs.resume, outputs.broker.mqtt) == (Path("/verdicts/verdicts.jsonl"), True, None)
    volumes = services("docker-compose.edge.yml")["edge"]["volumes"]
    assert "${PICTURES:-./pictures}:/pictures:ro" in volumes
    assert "verdicts:/verdicts" in volumes
    image = (ROOT / "deploy/edge.Dockerfile").read_text()
    assert "COPY --from=build --chown=10001:10001 /verdicts /verdicts" in image, "the volume gets this owner"


def test_an_edge_alone_has_a_camera_or_a_stream_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, outputs = edge_alone(monkeypatch, *WITH_CAMERA)
    assert (inputs.watch, inputs.video, inputs.rate, inputs.of_camera) == (None, "0", 5.0, True)
    assert outputs.resume
    inputs, _ = edge_alone(monkeypatch, *WITH_CAMERA, VIDEO="tcp://host.docker.internal:8554")
    assert inputs.video == "tcp://host.docker.internal:8554"


def test_an_edge_alone_publishes_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    _, outputs = edge_alone(
        monkeypatch, *EDGE_ALONE, MQTT="mqtts://me@broker.test/a", MQTT_PASSWORD_FILE="/certs/mqtt-password"
    )
    assert outputs.broker.broker.topic == "a"


def test_the_compose_file_and_the_image_name_the_same_extras() -> None:
    default = services("docker-compose.edge.yml")["edge"]["build"]["args"]["EXTRA"]
    assert (
        f'ARG EXTRA="{default.removeprefix("${EXTRA:-").removesuffix("}")}"'
        in (ROOT / "deploy/edge.Dockerfile").read_text()
    )


def test_cuda_is_built_for_gpus_alone() -> None:
    plain, gpu = (services(file)["cloud"]["build"]["args"] for file in ("docker-compose.yml", "docker-compose.gpu.yml"))
    assert not {"EXTRA", "TORCH", "TORCH_INDEX"} & plain.keys()
    assert gpu["EXTRA"] == "cloud-torch signed"
    assert gpu["TORCH"] == re.sub(r".*\nTORCH \?= (\S+)\n.*", r"${TORCH:-\1}", MAKEFILE, flags=re.DOTALL)


@pytest.mark.parametrize("file", ALL)
def test_every_image_of_ours_may_come_from_a_registry(file: str) -> None:
    ours = [service["image"] for service in services(file).values() if "build" in service]
    assert all(image.startswith("${REGISTRY:-}neucodex-") for image in ours)
    assert ours or file in ("docker-compose.tls.yml", "docker-compose.camera.yml")


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
