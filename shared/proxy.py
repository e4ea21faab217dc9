"""Whether gRPC would go to a machine by a proxy, as the environment says.

gRPC connects to the number that a name stands for, so it compares `no_proxy` with that alone, and it asks a proxy for
this machine itself, too. Code that opens a channel asks here instead.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.security import is_loopback

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""The variables that gRPC reads; the first that is set counts."""

EXCEPTIONS = ("no_grpc_proxy", "no_proxy")

WITHOUT_PROXY = ("grpc.enable_http_proxy", 0)
"""The option of a channel that goes by no proxy."""


@dataclass(frozen=True)
class Proxy:
    """`address` is HOST:PORT; `variable` names it."""

    variable: str
    address: str


def proxy_to(*hosts: str, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy on the way to a machine; None if there is none.

    Args:
        hosts: the machine's names and numbers. One that is loopback, or that `no_proxy` names, is enough.
        environment: the variables.
    """
    variable = next((name for name in PROXIES if environment.get(name)), None)
    if variable is None or any(is_loopback(host) for host in hosts):
        return None
    exceptions = next((environment[name] for name in EXCEPTIONS if environment.get(name)), "")
    if any(_is_excepted(host, exceptions) for host in hosts):
        return None
    return Proxy(variable, urlsplit(environment[variable]).netloc.rpartition("@")[2])


def _is_excepted(host: str, exceptions: str) -> bool:
    return any(_covers(exception.strip().lower(), host.lower()) for exception in exceptions.split(","))


def _covers(exception: str, host: str) -> bool:
    """Whether an entry of `no_proxy` (a name, the end of names, a number, a network, or *) covers a host."""
    name = exception.lstrip(".")
    if exception == "*" or (name and (host == name or host.endswith(f".{name}"))):
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        return False
