"""Docker without a registry: an engine of its own, base images by debootstrap, wheels from this machine's pip."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.containers.arm64_root import (
    PLATFORMS,
    PYTHON,
    RELEASE,
    Missing,
    install_tools,
    let_the_kernel_start_qemu,
    run,
)
from tests.support.processes import DEADLINE, wait_for

Architecture = str
"""As Debian and Docker call it: amd64 or arm64."""

HERE: Architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PACKAGES = "ca-certificates,python3,python3-venv,python3-pip"
TOOLS = {
    "dockerd": "docker.io",
    "docker-compose": "docker-compose",
    "debootstrap": "debootstrap",
    "iptables": "iptables",
}


class Engine:
    """A running Docker daemon, and what is needed to build with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {**os.environ, "DOCKER_HOST": self.address, "DOCKER_BUILDKIT": "0"}

    @property
    def address(self) -> str:
        """Of its socket."""
        return f"unix://{self.folder / 'docker.sock'}"

    def docker(self, *words: str | Path) -> str:
        """What a command of Docker prints; raises AssertionError with what it said when it fails."""
        return self._said(["docker", *words])

    def compose(self, folder: Path, *words: str, **variables: str) -> str:
        """The same of docker-compose in `folder`."""
        return self._said(["docker-compose", *words], cwd=folder, env={**self._environment, **variables})

    def inspect(self, name: str) -> dict[str, Any]:
        """All that Docker knows of an image or container."""
        (found,) = json.loads(self.docker("inspect", name))
        known: dict[str, Any] = found
        return known

    def answers(self) -> bool:
        """Whether the daemon is up."""
        return (
            subprocess.run(["docker", "info"], env=self._environment, check=False, capture_output=True).returncode == 0
        )

    def _said(self, command: Sequence[str | Path], **settings: Any) -> str:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, **{"env": self._environment, **settings}
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """A daemon whose images and containers lie in `folder`; installed where that can be done, ended at the end.

    Raises:
        Missing: rights, or tools that could not be installed.
    """
    if os.geteuid() != 0:
        raise Missing("images are built by an engine of their own, which needs root: run this as root")
    install_tools(TOOLS)
    folder.mkdir(parents=True, exist_ok=True)
    running = Engine(folder)
    if running.answers():  # left by a run that was killed
        yield running
        return
    places = ["--data-root", folder / "docker", "--exec-root", folder / "exec", "--pidfile", folder / "dockerd.pid"]
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--host", running.address, "--default-ulimit", "nofile=1024:1024", *places],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: running.answers() or daemon.poll() is not None, "the Docker daemon")
        if daemon.poll() is not None:
            raise Missing(f"the Docker daemon ended: see {folder / 'dockerd.log'}")
        yield running
    finally:
        daemon.terminate()
        daemon.wait(DEADLINE)


def base_image(running: Engine, architecture: Architecture, wheels: str) -> str:
    """A stand-in for python:3.11-slim-bookworm: Debian with its own Python, whose pip takes its wheels from `wheels`.

    Returns:
        The image's name.
    """
    root = running.folder / f"base-{architecture}"
    if not (root / ".built").exists():
        shutil.rmtree(root, ignore_errors=True)
        foreign = architecture != HERE
        if foreign:
            let_the_kernel_start_qemu()
        only = ("--foreign", "--arch", architecture) if foreign else ()
        run("debootstrap", *only, "--variant=minbase", f"--include={PACKAGES}", RELEASE, root)
        if foreign:
            run("chroot", root, "/debootstrap/debootstrap", "--second-stage")
        (root / ".built").touch()
    if architecture != HERE:
        let_the_kernel_start_qemu()
    (root / "etc/pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wheels}\n")
    name = f"python:3.11-slim-bookworm{'' if architecture == HERE else f'-{architecture}'}"
    files = subprocess.Popen(
        ["tar", "-C", root, "--exclude=./.built", "--exclude=./var/cache/apt", "-c", "."], stdout=subprocess.PIPE
    )
    subprocess.run(
        ["docker", "--host", running.address, "import", "--platform", f"linux/{architecture}", "-", name],
        stdin=files.stdout, check=True, capture_output=True,
    )  # fmt: skip
    assert files.wait() == 0
    return name


def fetch_wheels(folder: Path, architecture: Architecture, requirements: Sequence[str], constraints: Path) -> None:
    """What pip would install on such a machine with the base image's Python, into `folder`."""
    other = [word for tag in PLATFORMS for word in ("--platform", tag)] if architecture == "arm64" else []
    for_it = ["--python-version", PYTHON, "--implementation", "cp", "--abi", "cp311", "--abi", "abi3", "--abi", "none"]
    for_it = [*for_it, "--only-binary=:all:", *other] if architecture != HERE else []
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    # The machine that asks is not the one that installs: what is for others is left out here.
    wanted.write_text("\n".join(line for line in requirements if "x86_64" not in line or architecture == "amd64"))
    run(sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *for_it, "-c", constraints, "-r", wanted)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server of `folder` on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nobody wants to know."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
