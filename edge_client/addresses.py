"""Where a cloud may be: addresses as the user named them, and the machines that a name stands for."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from shared.command_line import join_address
from shared.errors import CloudUnavailable

Address = tuple[str, int]


@dataclass(frozen=True)
class Target:
    """One machine: `address` HOST:PORT with the host in numbers, `named` HOST:PORT as the user wrote it."""

    address: str
    named: str


async def resolve(addresses: Sequence[Address], chance: random.Random) -> list[Target]:
    """All machines of all addresses: addresses in the order given, the machines of one name in random order.

    gRPC would resolve names too, but tries the next machine only when a connection fails, not when the cloud there
    drains.

    Raises:
        CloudUnavailable: no name among them is known.
    """
    found: list[Target] = []
    unknown: list[str] = []
    for host, port in addresses:
        named = join_address((host, port))
        try:
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # unknown, or no name at all
            unknown.append(f"{named} ({getattr(error, 'strerror', None) or error})")
            continue
        machines = list(dict.fromkeys(join_address((str(info[4][0]), port)) for info in infos))
        chance.shuffle(machines)
        found += [Target(machine, named) for machine in machines]
    if not found:
        raise CloudUnavailable(f"the name of the cloud is not known here: {', '.join(unknown)}; check --cloud")
    return found
