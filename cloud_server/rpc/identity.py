"""Who a stream belongs to: what its edge has proven, or where it comes from. Limits and turns go by identity."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import unquote

import grpc

IdentityKind = Literal["certificate", "token", "address"]
IDENTITY_KINDS: tuple[IdentityKind, ...] = get_args(IdentityKind)

IPV6_PREFIX = 64
"""Bits: a host chooses the rest of its IPv6 address as it likes, so one network counts as one address."""


@dataclass(frozen=True)
class Identity:
    """An edge, as far as the cloud knows it.

    Attributes:
        kind: what the name was taken from.
        name: the common name of the edge's certificate, else its first alternative name; the name of its token; or its
            address without the port.
    """

    kind: IdentityKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def identify(context: grpc.aio.ServicerContext[Any, Any], token: str | None) -> Identity:
    """The identity of a stream whose edge was let in.

    Args:
        context: of the stream.
        token: the name of its token; None if the cloud needs none.
    """
    common_names = context.auth_context().get("x509_common_name") or ()
    for name in (*common_names, *(context.peer_identities() or ())):
        if name:
            return Identity("certificate", name.decode("utf-8", "replace"))
    if token is not None:
        return Identity("token", token)
    return Identity("address", address_of(context.peer()))


def address_of(peer: str) -> str:
    """A peer's address without its port: `ipv4:192.0.2.1:40000` -> `192.0.2.1`.

    Of an IPv6 address it is the network: `ipv6:%5B2001:db8::1%5D:40000` -> `2001:db8::/64`. Unix sockets have no port.
    """
    kind, _, rest = peer.partition(":")
    if not kind.startswith("ipv") or ":" not in rest:
        return peer
    host = unquote(rest.rpartition(":")[0]).strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
