"""Two network namespaces of Linux joined by a cable that can be pulled. Needs root and iproute2."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

NETWORK = "10.99.71"


def missing() -> str | None:
    """What this machine lacks for namespaces, None if nothing."""
    if shutil.which("ip") is None:
        return "the program ip (iproute2) is not here"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    return None


@dataclass(frozen=True)
class Cable:
    """Namespace `far` has the address `far_address`, `near` reaches it."""

    near: str
    far: str
    far_address: str = f"{NETWORK}.1"

    def inside(self, namespace: str) -> list[str]:
        """What to put before a command that is to run there."""
        return ["ip", "netns", "exec", namespace]

    def pull(self) -> None:
        """Nothing passes any more, and neither side is told."""
        _ip("-n", self.far, "link", "set", "far", "down")

    def plug(self) -> None:
        """As in the beginning."""
        _ip("-n", self.far, "link", "set", "far", "up")
        # The neighbour's address stays known: else the kernel says "no route to host" before TCP gives up.
        link = json.loads(_ip("-n", self.far, "-j", "link", "show", "far"))[0]
        _ip("-n", self.near, "neigh", "replace", self.far_address, "lladdr", link["address"], "dev", "near")


@contextlib.contextmanager
def cable() -> Iterator[Cable]:
    """Two namespaces for the block."""
    made = Cable(f"neucodex-near-{os.getpid()}", f"neucodex-far-{os.getpid()}")
    try:
        for namespace in (made.near, made.far):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", made.near, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", made.far)
        _ip("-n", made.near, "addr", "add", f"{NETWORK}.2/24", "dev", "near")
        _ip("-n", made.far, "addr", "add", f"{made.far_address}/24", "dev", "far")
        _ip("-n", made.near, "link", "set", "near", "up")
        made.plug()
        yield made
    finally:
        for namespace in (made.near, made.far):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", namespace)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """One namespace for the block, with nothing in it."""
    made = f"neucodex-{name}-{os.getpid()}"
    _ip("netns", "add", made)
    try:
        _ip("-n", made, "link", "set", "lo", "up")
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", made)


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own arguments
    return done.stdout
