"""Where the testbed's processes run, and the links between them: namespaces, loopback, or another machine."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks.links import namespaces, tun
from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.schema import LinkMeans
from shared.errors import ConfigError

NO_SHAPING = "loopback"


@dataclass(frozen=True)
class OpenLink:
    """An open link: where the edge reaches each service of the cloud.

    `interface` is the edge's, whose counters say the bytes on the link; "" where nothing is counted.
    """

    addresses: Mapping[str, str]
    means: LinkMeans
    interface: str = ""


class Environment(Protocol):
    """What to put before commands of either side, where the cloud listens, and links.

    `slows_edge`: the edge is on this machine, and is made slower than it is. `lanes`: whether there may be more edges,
    each with a link of its own.
    """

    lanes: bool

    edge_prefix: tuple[str, ...]
    cloud_prefix: tuple[str, ...]
    listen: str
    slows_edge: bool

    def link(self, profile: LinkProfile, services: Mapping[str, str]) -> contextlib.AbstractContextManager[OpenLink]:
        """A link of that profile for the block. `services`: name -> HOST:PORT where it listens."""


class Namespaces:
    """Edge and cloud in a network namespace each; needs root. Shaped by netem where it is, else by a TUN process."""

    lanes = True
    slows_edge = True
    listen = "0.0.0.0:0"

    def __init__(self, cable: namespaces.Cable) -> None:
        self._cable = cable
        self.edge_prefix = tuple(cable.inside(cable.near))
        self.cloud_prefix = tuple(cable.inside(cable.far))
        for namespace, device in ((cable.near, "near"), (cable.far, "far")):
            # One packet of the link is one packet of the counters: nothing is put together for the device.
            _run("ip", "-n", namespace, "link", "set", device, "gso_max_segs", "1")

    @contextlib.contextmanager
    def link(self, profile: LinkProfile, services: Mapping[str, str]) -> Iterator[OpenLink]:
        """See `Environment`."""
        if profile.name == NO_SHAPING:
            yield OpenLink(_at(services, self._cable.far_address), "cable", "near")
        elif self._netem(profile):
            try:
                yield OpenLink(_at(services, self._cable.far_address), "netem", "near")
            finally:
                for namespace, device in ((self._cable.near, "near"), (self._cable.far, "far")):
                    _run("tc", "-n", namespace, "qdisc", "del", "dev", device, "root")
        else:
            with tun.tun_link(self._cable.near, self._cable.far, profile):
                yield OpenLink(_at(services, tun.far_address()), "tun", tun.near_device())

    @contextlib.contextmanager
    def lane(self, number: int) -> Iterator[Lane]:
        """A place for one more edge, number 1 or more, with links to the same cloud."""
        with namespaces.namespace(f"lane{number}") as near:
            yield Lane(near, self._cable.far, number)

    def _netem(self, profile: LinkProfile) -> bool:
        """Whether the kernel has it; then both ends are shaped."""
        ends = ((self._cable.near, "near", profile.up_mbit), (self._cable.far, "far", profile.down_mbit))
        for namespace, device, rate in ends:
            command = ["tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "netem"]
            command += ["delay", f"{profile.rtt_ms / 2}ms", f"{profile.jitter_ms / 2}ms"]
            command += ["loss", f"{profile.loss * 50}%"] if profile.loss else []
            command += ["rate", f"{rate}mbit"] if rate else []
            if not _run(*command):
                return False
        return True


class Lane:
    """A namespace with an edge of its own, joined to the cloud's by one TUN link after the other."""

    lanes = False
    slows_edge = True
    listen = ""
    cloud_prefix: tuple[str, ...] = ()

    def __init__(self, near: str, far: str, number: int) -> None:
        self._near, self._far, self._number = near, far, number
        self.edge_prefix: tuple[str, ...] = ("ip", "netns", "exec", near)

    @contextlib.contextmanager
    def link(self, profile: LinkProfile, services: Mapping[str, str]) -> Iterator[OpenLink]:
        """See `Environment`."""
        with tun.tun_link(self._near, self._far, profile, self._number):
            yield OpenLink(_at(services, tun.far_address(self._number)), "tun", tun.near_device(self._number))


class Loopback:
    """Both on this machine's loopback, for those who are not root: no link is shaped, and nothing is counted."""

    lanes = False
    slows_edge = True
    listen = "127.0.0.1:0"
    edge_prefix: tuple[str, ...] = ()
    cloud_prefix: tuple[str, ...] = ()

    @contextlib.contextmanager
    def link(self, profile: LinkProfile, services: Mapping[str, str]) -> Iterator[OpenLink]:
        """See `Environment`.

        Raises:
            ConfigError: it is another link than loopback.
        """
        if profile.name != NO_SHAPING:
            raise ConfigError(
                f"link {profile.name} cannot be made here: it needs root, iproute2 and {tun.DEVICE}; "
                f"--links {NO_SHAPING} needs none of them"
            )
        yield OpenLink(services, "loopback")


class Remote:
    """The edge on another machine, behind a command such as `ssh pi cd neucodex \\&\\&`; one link, the real one.

    Args:
        command: what to put before the edge's command.
        here: this machine's address as the other one reaches it.
        interface: the other machine's, whose bytes are counted; "" for none.
    """

    lanes = False
    slows_edge = False
    cloud_prefix: tuple[str, ...] = ()

    def __init__(self, command: str, here: str, interface: str) -> None:
        self.edge_prefix = tuple(shlex.split(command))
        self.listen = f"{here}:0"
        self._here = here
        self._interface = interface

    @contextlib.contextmanager
    def link(self, profile: LinkProfile, services: Mapping[str, str]) -> Iterator[OpenLink]:
        """See `Environment`; the link is what it is, whatever `profile` says."""
        del profile
        yield OpenLink(_at(services, self._here), "real", self._interface)


@contextlib.contextmanager
def open_environment(edge_host: str | None, here: str | None, interface: str) -> Iterator[Environment]:
    """The best there is for the block.

    Raises:
        ConfigError: --edge-host without --cloud-host.
    """
    if edge_host is not None:
        if here is None:
            raise ConfigError("--edge-host needs --cloud-host: the address of this machine as the edge reaches it")
        yield Remote(edge_host, here, interface)
    elif namespaces.missing() is None and tun.missing() is None:
        with namespaces.cable() as cable:
            yield Namespaces(cable)
    else:
        yield Loopback()


def _at(services: Mapping[str, str], host: str) -> dict[str, str]:
    return {name: f"{host}:{address.rpartition(':')[2]}" for name, address in services.items()}


def _run(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603  our own arguments
