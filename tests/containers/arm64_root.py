"""A Debian for arm64 in a folder: debootstrap makes it, and qemu runs its programs where the machine is another."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RELEASE = "bookworm"
PYTHON = "3.11"
"""What the release has."""
PLATFORMS = (*(f"manylinux_2_{minor}_aarch64" for minor in (36, 34, 31, 28, 27, 26, 24, 17)), "manylinux2014_aarch64")
"""Wheels that run there, the newest first."""
BINFMT = Path("/proc/sys/fs/binfmt_misc")
RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")


class Missing(Exception):
    """Something that the machine must have; the message says what to do."""


class Arm64Root:
    """The folder, its Python, and what is put into it.

    Args:
        folder: kept from run to run; half a build is begun anew.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.resolve()
        self._built = self.path / ".built"

    def build(self) -> None:
        """Make the root, unless it is there, and see to it that its programs run.

        Raises:
            Missing: a tool that could not be installed, or rights.
        """
        emulated = platform.machine() != "aarch64"
        if os.geteuid() != 0:
            raise Missing("an arm64 root is built and entered as root (debootstrap, chroot): run this as root")
        install_tools(
            {"debootstrap": "debootstrap", **({"qemu-aarch64-static": "qemu-user-static"} if emulated else {})}
        )
        if emulated:
            let_the_kernel_start_qemu()
        if self._built.exists():
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        run("debootstrap", "--arch=arm64", "--foreign", "--variant=minbase", "--include=python3", RELEASE, self.path)
        run("chroot", self.path, "/debootstrap/debootstrap", "--second-stage")
        self._built.touch()

    def install(self, packages: Sequence[str], constraints: Path) -> Path:
        """Packages for the root's Python, as wheels from this machine's pip, which has its settings.

        Returns:
            Their folder, as the root names it.
        """
        site = self.path / "site"
        shutil.rmtree(site, ignore_errors=True)
        wanted = ["--python-version", PYTHON, "--implementation", "cp", "--abi", f"cp{PYTHON.replace('.', '')}"]
        wanted += [word for tag in PLATFORMS for word in ("--platform", tag)]
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--target", site, "--only-binary=:all:")
        run(*pip, *wanted, "-c", constraints, *packages)
        return Path("/site")

    def put(self, source: Path, name: str) -> None:
        """Copy a folder of the checkout to /neucodex/`name`, in place of what is there."""
        goal = self.path / "neucodex" / name
        shutil.rmtree(goal, ignore_errors=True)
        shutil.copytree(source, goal, ignore=shutil.ignore_patterns("__pycache__"))

    def python(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """The root's Python in /neucodex, with that environment alone."""
        inside = ["/bin/sh", "-c", 'cd /neucodex && exec python3 "$@"', "sh", *arguments]
        return subprocess.run(
            ["chroot", str(self.path), *inside],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **environment},
            capture_output=True,
            text=True,
            check=False,
        )


def install_tools(tools: Mapping[str, str]) -> None:
    """Install the packages of the tools that are not there, where there is Debian's package manager."""
    packages = [package for tool, package in tools.items() if shutil.which(tool) is None]
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise Missing(f"install {', '.join(packages)} (names of Debian's packages)")
    try:
        run("apt-get", "update", "--quiet")
        run("apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages)
    except subprocess.CalledProcessError as error:
        raise Missing(f"apt-get could not install {', '.join(packages)}:\n{error.stdout}") from None


def let_the_kernel_start_qemu() -> None:
    """Register qemu for arm64 programs, as systemd does where it runs; the kernel keeps it open, also for chroots."""
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_text(RULE.read_text().strip())


def run(*command: str | Path) -> None:
    """Run a program. Raises CalledProcessError with all that the command said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout)
