"""A link that is shaped without the kernel's netem: two TUN devices, and a process that carries packets between them.

Each device lies in a namespace of its own. The process takes no time from those that are measured.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.links.profiles import LinkProfile
from benchmarks.links.shaping import Direction
from benchmarks.worker import WorkerProcess

NETWORK = 72
"""Link number n has the addresses 10.99.(72 + n).1, far, and .2, near."""

DEVICE = Path("/dev/net/tun")
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LONGEST = 1500


def far_address(number: int = 0) -> str:
    """Where the far side of a link is reached."""
    return f"10.99.{NETWORK + number}.1"


def near_device(number: int = 0) -> str:
    """The device on the near side of a link."""
    return f"ncx-near{number}"


def missing() -> str | None:
    """What this machine lacks for it, None if nothing (root and iproute2 apart)."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        return f"{DEVICE} cannot be opened ({error.strerror})"
    return None


@contextlib.contextmanager
def tun_link(near: str, far: str, profile: LinkProfile, number: int = 0) -> Iterator[None]:
    """Join two namespaces by a shaped link for the block; packets from `near` go up. Links that are open at once have
    different numbers.
    """
    with WorkerProcess(partial(_Carrier, near, far, profile, number)) as carrier:
        carrier.call(_Carrier.start)
        yield


def directions(profile: LinkProfile) -> tuple[Direction, Direction]:
    """Up and down; each has half of the round trip, of the jitter and of the loss."""

    def one(rate: float | None, seed: int) -> Direction:
        bytes_s = None if rate is None else rate * 1e6 / 8
        # Rarely both ways lose: the round trip's loss is nearly the sum.
        return Direction(profile.rtt_ms / 2e3, bytes_s, profile.jitter_ms / 2e3, profile.loss / 2, seed)

    return one(profile.up_mbit, 0), one(profile.down_mbit, 1)


class _Carrier:
    """Both devices, and the thread that carries packets between them."""

    def __init__(self, near: str, far: str, profile: LinkProfile, number: int) -> None:
        network = far_address(number).rpartition(".")[0]
        here, there = f"{network}.2", f"{network}.1"
        self._ends = [
            _device(near_device(number), near, here, there, profile.mtu),
            _device(f"ncx-far{number}", far, there, here, profile.mtu),
        ]
        self._ways = directions(profile)

    async def start(self) -> None:
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        coming: list[tuple[float, int, int, bytes]] = []
        number = 0
        while True:
            pause = max(coming[0][0] - time.monotonic(), 0.0) if coming else None
            readable, _, _ = select.select(self._ends, [], [], pause)
            for end in readable:
                way = self._ends.index(end)
                with contextlib.suppress(BlockingIOError):
                    for _ in range(64):
                        packet = os.read(end, LONGEST + 64)
                        due = self._ways[way].arrives(len(packet), time.monotonic())
                        if due is not None:
                            number += 1
                            heapq.heappush(coming, (due, number, self._ends[1 - way], packet))
            now = time.monotonic()
            while coming and coming[0][0] <= now:
                _, _, end, packet = heapq.heappop(coming)
                with contextlib.suppress(OSError):  # a full device loses it, as a full queue would
                    os.write(end, packet)


def _device(name: str, namespace: str, own: str, other: str, mtu: int) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        ["ip", "link", "set", name, "netns", namespace],
        ["ip", "-n", namespace, "addr", "add", own, "peer", other, "dev", name],
        # A queue of its own in the device would hide the link's: packets are taken as they come.
        ["ip", "-n", namespace, "link", "set", name, "mtu", str(mtu), "txqueuelen", "1000", "up"],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own arguments
    return descriptor
