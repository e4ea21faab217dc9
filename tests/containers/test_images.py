"""Both images built for real, and the compose file brought up with them: healthy, at work, scraped, drained, gone.

Without a registry the base image is a stand-in made by debootstrap, Prometheus is Debian's in an image of the name that
the compose file has, and Grafana is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.record import Clock, Findings, Goal
from tests.containers.arm64_root import Missing
from tests.containers.conftest import REPOSITORY
from tests.containers.docker_engine import HERE, Architecture, Engine, base_image, engine, fetch_wheels, served
from tests.support.processes import wait_for
from tests.support.prometheus import free_port

pytestmark = pytest.mark.skipif(HERE != "amd64", reason="images for amd64 are built on amd64")

LIMIT_MB, OWN_LIMIT_MB = 600, 60
"""Of an edge's image for arm64, unpacked: all of it, and the project's own layers."""

OTHERS = {
    "edge": ("cloud_server", "training", "benchmarks", "torch"),
    "cloud": ("edge_client", "training", "benchmarks", "torch"),
}
LOOK = """
import importlib.util, json, os, platform, sys
print(json.dumps({
    "there": [name for name in sys.argv[1:] if importlib.util.find_spec(name) is not None],
    "user": os.getuid(), "machine": platform.machine(), "writable": os.access("/app", os.W_OK),
}))
"""
PI_CPU = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
"""What a Raspberry Pi 4 says of its processor. onnxruntime reads it as it is imported, and crashes on that of an amd64
machine, which qemu 7 shows to the programs that it runs."""
SAMPLES = 30
"""Enough to know that the pair works."""


@pytest.fixture(scope="module")
def docker(request: pytest.FixtureRequest) -> Iterator[Engine]:
    try:
        with engine(request.config.getoption("cache") / "docker") as running:
            yield running
    except Missing as missing:
        pytest.fail(f"error: {missing}", pytrace=False)


@pytest.fixture(scope="module")
def found(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What the tests find; a record when all of them have passed."""
    clock, results, failed = Clock("containers"), {}, request.session.testsfailed
    yield results
    records = request.config.getoption("records")
    if records is not None and request.session.testsfailed == failed:
        sizes, pair = results["images"], results["pair"]
        arm = sizes.get("edge arm64", {})
        without = "" if arm else "there was no arm64 image"
        targets = [
            Goal("edge image for arm64, unpacked", LIMIT_MB, arm.get("all_mb"), "MB", "lower", without),
            Goal("its own layers", OWN_LIMIT_MB, arm.get("own_mb"), "MB", "lower", without),
            Goal("samples answered by the cloud", SAMPLES, pair["samples"], "samples", "higher"),
        ]
        clock.write(Findings({"images": len(sizes)}, results, targets), records / f"{date.today()}-containers")


def dependencies(side: str) -> list[str]:
    extras = re.search(r'^ARG EXTRA="(.*)"$', (REPOSITORY / f"deploy/{side}.Dockerfile").read_text(), re.MULTILINE)
    named = [side] if extras is None else extras[1].split()
    printed = subprocess.run(
        [sys.executable, "deploy/requirements.py", "pyproject.toml", *named],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return printed.stdout.splitlines()


def build(docker: Engine, side: str, architecture: Architecture = HERE) -> str:
    """The image's name; it is built as the Dockerfile says, on a stand-in for its base."""
    name = f"neucodex-{side}:{'latest' if architecture == HERE else architecture}"
    wheels = docker.folder / f"wheels-{side}-{architecture}"
    fetch_wheels(wheels, architecture, dependencies(side), REPOSITORY / "constraints.txt")
    with served(wheels) as address:
        # The base is for the architecture asked for, and so is all that is made from it: with --platform Debian's
        # engine would refuse its own intermediate images.
        base = base_image(docker, architecture, address)
        docker.docker(
            "build", "--network", "host", "--build-arg", f"BASE={base}",
            "--file", REPOSITORY / f"deploy/{side}.Dockerfile", "--tag", name, REPOSITORY,
        )  # fmt: skip
    return name


def examine(docker: Engine, side: str, image: str, machine: str) -> dict[str, Any]:
    """Look inside, where nothing may be written; what is there beside its own rooms is none of it."""
    confined = ("--rm", "--read-only", "--cap-drop", "ALL", "--network", "none")
    seen = json.loads(
        docker.docker("run", *confined, "--entrypoint", "python", image, "-c", LOOK, *OTHERS[side], "shared")
    )
    assert seen == {"there": ["shared"], "user": 10001, "machine": machine, "writable": False}
    assert "Usage" in docker.docker("run", *confined, image, "--help")
    config = docker.inspect(image)["Config"]
    assert config["Labels"]["org.opencontainers.image.title"] == f"neucodex-{side}"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    own = docker.docker("run", *confined, "--entrypoint", "du", image, "-s", "--block-size=1M", "/app", "/opt/neucodex")
    code, packages = (int(line.split()[0]) for line in own.splitlines())
    return {"all_mb": docker.inspect(image)["Size"] / 1e6, "own_mb": code, "packages_mb": packages}


@pytest.fixture(scope="module")
def images(docker: Engine, found: dict[str, Any]) -> dict[str, Any]:
    sizes: dict[str, Any] = found.setdefault("images", {})
    for side in ("cloud", "edge"):
        sizes[f"{side} {HERE}"] = examine(docker, side, build(docker, side), "x86_64")
    return sizes


def test_the_images_hold_what_they_need_and_no_more(images: dict[str, Any]) -> None:
    assert images[f"edge {HERE}"]["own_mb"] <= OWN_LIMIT_MB
    assert images[f"cloud {HERE}"]["own_mb"] <= OWN_LIMIT_MB


def test_the_compose_file_is_up_healthy_classifies_is_scraped_and_drains(
    docker: Engine, images: dict[str, Any], found: dict[str, Any], tmp_path: Path
) -> None:
    prometheus_stand_in(docker, tmp_path)
    copied(tmp_path / "pair", "docker-compose.yml", "deploy/prometheus", "models")
    ports = {name: str(free_port()) for name in ("CLOUD_PORT", "PROMETHEUS_PORT")}

    def compose(*words: str) -> str:
        return docker.compose(
            tmp_path / "pair", *words, RATE="10", DOCKER_HOST=docker.address, PATH="/usr/bin:/usr/sbin", **ports
        )

    def ask(expression: str) -> float:
        address = f"http://127.0.0.1:{ports['PROMETHEUS_PORT']}/api/v1/query?query={expression}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def answers(expression: str, least: float) -> bool:
        try:
            return ask(expression) >= least
        except OSError:
            return False

    try:
        compose("up", "--detach", "--no-build", "cloud", "edge", "prometheus")
        cloud, edge = (compose("ps", "--quiet", name).strip() for name in ("cloud", "edge"))
        assert docker.inspect(cloud)["State"]["Health"]["Status"] == "healthy"
        wait_for(lambda: docker.inspect(edge)["State"]["Health"]["Status"] == "healthy", "the edge to be healthy", 120)
        wait_for(
            lambda: answers('neucodex_edge_samples_total{outcome="cloud"}', SAMPLES),
            "Prometheus to have seen samples",
            120,
        )
        assert ask('count(up{job=~"neucodex-.*"}==1)') == 2
        assert ask("sum(neucodex_edge_connected)") == 1
        found["pair"] = {
            "samples": ask('neucodex_edge_samples_total{outcome="cloud"}'),
            "failed": ask('neucodex_edge_samples_total{outcome="failed"}'),
            "memory_mb": {
                side: ask(f'process_resident_memory_bytes{{job="neucodex-{side}"}}') / 1e6 for side in ("cloud", "edge")
            },
            "without": ["grafana"],
        }
        assert found["pair"]["failed"] == 0
        compose("stop", "cloud")
        assert docker.inspect(cloud)["State"]["ExitCode"] == 0
        assert "stopped" in docker.docker("logs", cloud) + compose("logs", "--no-color", "cloud")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{compose('logs', '--no-color', '--tail', '30')}") from None
    finally:
        compose("down", "--volumes")


def test_the_compose_files_behind_tls_and_with_an_edge_elsewhere(
    docker: Engine, images: dict[str, Any], found: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "walled"
    copied(folder, "docker-compose.yml", "docker-compose.tls.yml", "docker-compose.edge.yml", "models")
    subprocess.run([sys.executable, REPOSITORY / "deploy/certs.py", folder / "certs", "cloud"], check=True)
    for file in (folder / "certs").iterdir():
        os.chown(file, 10001, 10001)
    (folder / "pictures").mkdir()
    for number, picture in enumerate(load_digits().images[:SAMPLES]):
        Image.fromarray((picture * 15).astype(np.uint8)).resize((64, 64)).save(folder / f"pictures/{number:02}.png")
    port = str(free_port())
    variables = {"CLOUD_PORT": str(free_port()), "CLOUD_TLS_PORT": port, "CLOUD_NAME": "cloud"}
    bridge = json.loads(docker.docker("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
    variables |= {"CLOUD": f"{bridge}:{port}", "METRICS_PORT": str(free_port())}

    def compose(*words: str) -> str:
        return docker.compose(folder, *words, DOCKER_HOST=docker.address, PATH="/usr/bin:/usr/sbin", **variables)

    walled = ("-f", "docker-compose.yml", "-f", "docker-compose.tls.yml")
    elsewhere = ("-f", "docker-compose.edge.yml", "--project-name", "elsewhere")
    try:
        compose(*walled, "up", "--detach", "--no-build", "cloud", "edge")
        edge = compose(*walled, "ps", "--quiet", "edge").strip()
        wait_for(lambda: docker.inspect(edge)["State"]["Health"]["Status"] == "healthy", "the edge to be healthy", 120)
        compose(*elsewhere, "run", "--rm", "-T", "edge", "doctor")
        printed = compose(*elsewhere, "run", "--rm", "-T", "edge", "classify", "--json", "--limit", str(SAMPLES))
        verdicts = [line for line in map(json.loads, printed.splitlines()) if "summary" not in line]
        assert len(verdicts) == SAMPLES
        assert all(verdict["answered_by"] == "cloud" for verdict in verdicts)
        found["tls"] = {"samples of an edge elsewhere": len(verdicts)}
    except AssertionError as error:
        raise AssertionError(f"{error}\n{compose(*walled, 'logs', '--no-color', '--tail', '30')}") from None
    finally:
        compose(*elsewhere, "down", "--volumes")
        compose(*walled, "down", "--volumes")


@pytest.mark.parametrize(
    "overlays",
    [(), ("gpu",), ("tls",), ("gpu", "tls"), ("edge",), ("edge", "camera")],
    ids=lambda overlays: "+".join(overlays) or "alone",
)
def test_compose_takes_every_combination_of_its_files(docker: Engine, overlays: tuple[str, ...]) -> None:
    files = [] if "edge" in overlays else ["docker-compose.yml"]
    files += [f"docker-compose.{overlay}.yml" for overlay in overlays]
    words = [word for file in files for word in ("-f", file)]
    variables = {"CLOUD": "cloud.test:50052", "DATASET": "nmnist", "DATA_DIR": "/srv/data"}
    printed = docker.compose(REPOSITORY, *words, "config", PATH="/usr/bin:/usr/sbin", **variables)
    services = yaml.safe_load(printed)["services"]
    if "edge" in overlays:
        assert services["edge"]["environment"]["NEUCODEX_CLOUD"] == "cloud.test:50052"
        assert (services["edge"]["environment"]["NEUCODEX_WATCH"] == "") == ("camera" in overlays)
        return
    assert services.keys() == {"cloud", "edge", "prometheus", "grafana"}
    assert services["edge"]["environment"]["NEUCODEX_DATASET"] == "nmnist"
    assert "/srv/data" in str(services["edge"]["volumes"])
    assert (services["cloud"]["environment"]["NEUCODEX_INSECURE"] == "0") == ("tls" in overlays)
    assert services["cloud"]["image"].endswith("-cuda") == ("gpu" in overlays)


def copied(folder: Path, *names: str) -> None:
    """Put these of the checkout's files and folders into `folder`."""
    for name in names:
        source, goal = REPOSITORY / name, folder / name
        goal.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, goal)


def prometheus_stand_in(docker: Engine, folder: Path) -> None:
    """Debian's Prometheus in an image of the name that the compose file has."""
    program = shutil.which("prometheus") or shutil.which("prometheus", path=REPOSITORY / "build/prometheus/usr/bin")
    if program is None:
        subprocess.run(["make", "prometheus"], cwd=REPOSITORY, check=True)
        program = str(REPOSITORY / "build/prometheus/usr/bin/prometheus")
    context = folder / "prometheus"
    (context / "data").mkdir(parents=True)
    shutil.copy(program, context)
    (context / "Dockerfile").write_text(
        "FROM python:3.11-slim-bookworm\nCOPY prometheus /bin/prometheus\nCOPY --chown=65534:65534 data /prometheus\n"
        "USER 65534:65534\nWORKDIR /prometheus\n"
        'ENTRYPOINT ["/bin/prometheus"]\n'
        'CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]\n'
    )
    image = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["prometheus"]["image"]
    docker.docker("build", "--tag", image.replace("${PROMETHEUS_TAG:-", "").rstrip("}"), context)


def test_an_edge_for_arm64_answers_as_one_for_amd64(
    docker: Engine, images: dict[str, Any], found: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(PI_CPU)
    as_a_pi = ("--env", "QEMU_CPU=cortex-a72", "--volume", f"{tmp_path / 'cpuinfo'}:/proc/cpuinfo:ro")
    try:
        image = build(docker, "edge", "arm64")
    except (Missing, subprocess.CalledProcessError) as error:
        pytest.fail(f"no arm64 image: {error}\n{getattr(error, 'output', '')}", pytrace=False)
    size = examine(docker, "edge", image, "aarch64")
    answers = classified(docker, image, *as_a_pi)
    assert answers == classified(docker, "neucodex-edge:latest")
    found["arm64"] = {"samples classified as on amd64": len(answers), "emulated": "Cortex-A72, as in a Raspberry Pi 4"}
    images["edge arm64"] = size
    assert size["all_mb"] <= LIMIT_MB
    assert size["own_mb"] <= OWN_LIMIT_MB


def classified(docker: Engine, image: str, *settings: str) -> list[tuple[str, str, int]]:
    """Sample, prediction and timesteps of some digits, by an edge of this image with a cloud of ours."""
    port, metrics = free_port(), free_port()
    bundle = ("--volume", f"{REPOSITORY / 'models/resnet18-digits'}:/bundle:ro")
    common = ("--detach", "--read-only", "--network", "host", "--env", "NEUCODEX_INSECURE=1", *bundle)
    cloud = docker.docker(
        "run", *common, "neucodex-cloud:latest", "--bundle", "/bundle",
        "--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics}",
    ).strip()  # fmt: skip
    started = [cloud]
    try:
        edge = docker.docker(
            "run", *common, *settings, "--env", "NEUCODEX_METRICS=127.0.0.1:0", image, "classify",
            "--bundle", "/bundle",
            "--cloud", f"127.0.0.1:{port}", "--dataset", "digits", "--limit", str(SAMPLES), "--json",
            "--deadline", "120", "--sample-deadline", "120",
        ).strip()  # fmt: skip
        started.append(edge)
        # An emulated program that crashes may hang instead of ending.
        wait_for(lambda: not docker.inspect(edge)["State"]["Running"], f"an edge of {image} to end", 300)
        assert docker.inspect(edge)["State"]["ExitCode"] == 0, docker.docker("logs", edge)
        lines = docker.docker("logs", edge).splitlines()
    finally:
        docker.docker("rm", "--force", *started)
    samples = [line for line in map(json.loads, lines) if "summary" not in line]
    assert all(line["answered_by"] == "cloud" for line in samples)
    return [(line["sample"], line["prediction"], line["timesteps"]) for line in samples]
