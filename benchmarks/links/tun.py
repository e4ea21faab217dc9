"""A link that is shaped without the kernel's netem: two TUN devices, and a process that carries packets between them.

Each device lies in a namespace of its own; the process is spawned: what it does takes no time from those measured.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import multiprocessing
import os
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.links.profiles import LinkProfile
from benchmarks.links.shaping import Direction

NETWORK = "10.99.72"
NEAR, FAR = "ncx-near", "ncx-far"
"""The devices' names; each is in its own namespace."""

DEVICE = Path("/dev/net/tun")
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500
END_S = 10.0


@dataclass(frozen=True)
class TunLink:
    """`near_device` in the near namespace leads to `far_address`."""

    far_address: str = f"{NETWORK}.1"
    near_device: str = NEAR


def missing() -> str | None:
    """What this machine lacks for it, None if nothing (root and iproute2 apart)."""
    if not DEVICE.exists():
        return f"{DEVICE} is not here"
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        return f"{DEVICE} cannot be opened ({error.strerror})"
    return None


@contextlib.contextmanager
def tun_link(near: str, far: str, profile: LinkProfile, seed: int = 0) -> Iterator[TunLink]:
    """Two namespaces joined by a shaped link for the block; packets from `near` go up."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, near, far, profile, seed), daemon=True)
    process.start()
    there.close()
    try:
        ready = here.recv()
        if ready != "ready":
            raise OSError(ready)
        yield TunLink()
    except EOFError:
        raise OSError("the process that carries packets ended: see above") from None
    finally:
        here.close()
        process.join(END_S)
        if process.is_alive():
            process.kill()
            process.join()


def directions(profile: LinkProfile, seed: int) -> tuple[Direction, Direction]:
    """Up and down; each has half of the round trip, of the jitter and of the loss."""

    def one(rate: float | None, number: int) -> Direction:
        bytes_s = None if rate is None else rate * 1e6 / 8
        # Rarely both ways lose: the round trip's loss is nearly the sum.
        return Direction(profile.rtt_ms / 2e3, bytes_s, profile.jitter_ms / 2e3, profile.loss / 2, seed * 2 + number)

    return one(profile.up_mbit, 0), one(profile.down_mbit, 1)


def _serve(pipe: Connection, near: str, far: str, profile: LinkProfile, seed: int) -> None:
    # Ctrl-C is for the process that measures; the end of its pipe ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ends = [_device(NEAR, near, 2, 1), _device(FAR, far, 1, 2)]
    except (OSError, subprocess.CalledProcessError) as error:
        pipe.send(f"the TUN devices cannot be made: {getattr(error, 'stderr', None) or error}")
        return
    pipe.send("ready")
    _carry(ends, directions(profile, seed), pipe)


def _device(name: str, namespace: str, own: int, other: int) -> int:
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    for command in (
        ["ip", "link", "set", name, "netns", namespace],
        ["ip", "-n", namespace, "addr", "add", f"{NETWORK}.{own}", "peer", f"{NETWORK}.{other}", "dev", name],
        # A queue of its own in the device would hide the link's: packets are taken as they come.
        ["ip", "-n", namespace, "link", "set", name, "mtu", str(MTU), "txqueuelen", "1000", "up"],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own arguments
    return descriptor


def _carry(ends: list[int], ways: tuple[Direction, Direction], pipe: Connection) -> None:
    coming: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        pause = max(coming[0][0] - time.monotonic(), 0.0) if coming else None
        readable, _, _ = select.select([*ends, pipe.fileno()], [], [], pause)
        if pipe.fileno() in readable:
            return  # nothing is ever sent: its end has closed
        for end in readable:
            way = ends.index(end)
            with contextlib.suppress(BlockingIOError):
                for _ in range(64):
                    packet = os.read(end, MTU + 64)
                    due = ways[way].arrives(len(packet), time.monotonic())
                    if due is not None:
                        number += 1
                        heapq.heappush(coming, (due, number, ends[1 - way], packet))
        now = time.monotonic()
        while coming and coming[0][0] <= now:
            _, _, end, packet = heapq.heappop(coming)
            with contextlib.suppress(OSError):  # a full device loses it, as a full queue would
                os.write(end, packet)
