"""Addresses as the user named them, and the machines that a name stands for."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.command_line import Address, join_address, split_address
from shared.errors import CloudUnavailable


@dataclass(frozen=True)
class Target:
    """One machine: `address` HOST:PORT with the host in numbers, `named` HOST:PORT as the user wrote it."""

    address: str
    named: str

    @property
    def host(self) -> str:
        """The host as the user wrote it, without a zone: a zone means something on this machine alone."""
        return split_address(self.named)[0].partition("%")[0]

    @property
    def authority(self) -> str:
        """HOST:PORT by which the server knows itself."""
        return join_address((self.host, split_address(self.named)[1]))


async def resolve(addresses: Sequence[Address], chance: random.Random) -> list[Target]:
    """All machines of all addresses: addresses in the order given, the machines of one name in random order.

    gRPC would resolve names too, but tries the next machine only when a connection fails, not when the cloud there
    drains.

    Raises:
        CloudUnavailable: no name among them is known.
    """
    found: list[Target] = []
    unknown: list[str] = []
    for address in addresses:
        try:
            machines = await resolve_name(address)
        except CloudUnavailable as error:
            unknown.append(f"{join_address(address)} ({error})")
            continue
        chance.shuffle(machines)
        found += machines
    if not found:
        raise CloudUnavailable(f"the name of the cloud is not known here: {', '.join(unknown)}; check --cloud")
    return found


async def resolve_name(address: Address) -> list[Target]:
    """All machines of one address, in the order of the system's resolver.

    Raises:
        CloudUnavailable: the name is not known; the text is the resolver's, without the name.
    """
    host, port = address
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # unknown, or no name at all
        raise CloudUnavailable(str(getattr(error, "strerror", None) or error)) from None
    machines = dict.fromkeys(join_address((_number(info[4]), port)) for info in infos)
    return [Target(machine, join_address(address)) for machine in machines]


def _number(found: tuple[Any, ...]) -> str:
    """A socket's address without its port; a link-local one with its zone, as each interface has such a network."""
    host, zone = found[0], found[3] if len(found) > 3 else 0
    return f"{host}%{zone}" if zone and "%" not in host else str(host)
