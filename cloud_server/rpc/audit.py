"""The audit trail: who connected, who was refused or limited, and whose stream was ended, a structured line for each.

The lines are bounded, however many events there are; what was left out is counted in the next line, and metrics count
all of them. With `--log-format json` each field is a field of the object.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from cloud_server.rpc.identity import Identity
from shared.messages import Open
from shared.metrics import Metrics

log = logging.getLogger(__name__)

Limit = Literal["streams", "slots", "queue"]

LINES_OF_ONE, ONE_PER_S = 4, 0.1
"""Lines about one identity or address for the same reason: at once, and a second after that."""
LINES_OF_ALL, ALL_PER_S = 40, 4.0
"""The same for the lines for one reason about all of them."""
REMEMBERED = 1024
"""Identities and addresses, with a reason each, whose lines are counted one by one."""
LONGEST = 100
"""Characters of a text that a peer chose."""


class _Allowance:
    """A token bucket: so many lines at once, and so many a second after that."""

    def __init__(self, burst: int, per_second: float, now: float) -> None:
        self._burst, self._per_second = burst, per_second
        self._left, self._looked_at = float(burst), now

    def spend(self, now: float) -> bool:
        """Whether there is a line left; then it is spent."""
        self._left = min(self._left + (now - self._looked_at) * self._per_second, self._burst)
        self._looked_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Audit:
    """Writes the lines and counts the events.

    Args:
        metrics: of the process.
        clock: monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._of_all: dict[tuple[str, str], _Allowance] = {}
        self._of_one: OrderedDict[tuple[str, str, str], _Allowance] = OrderedDict()
        self._left_out: dict[tuple[str, str], int] = {}

    def connected(self, peer: str, identity: Identity, bundle: str, opened: Open, agent: str) -> None:
        """A stream's Open was accepted.

        Args:
            peer: its address and port, as gRPC names it.
            identity: whose it is.
            bundle: the name of the bundle that it asked for.
            opened: its Open.
            agent: the edge's library and its version, as the edge says.
        """
        who = {**_whose(peer, identity), "bundle": bundle, "protocol": opened.protocol_version, "agent": _short(agent)}
        self._metrics.count("neucodex_cloud_connected_total")
        self._write(logging.INFO, "connected", "", str(identity), "a stream is open", who)

    def refused(self, peer: str, identity: Identity | None, reason: str, details: str) -> None:
        """A stream was refused. `identity` is None for one that was not let in; `details` is what the edge is told."""
        self._metrics.count("neucodex_cloud_refused_streams_total", reason=reason)
        who = {**_whose(peer, identity), "reason": reason, "details": _short(details)}
        self._write(logging.WARNING, "refused", reason, _key(peer, identity), "a stream was refused", who)

    def ended(self, peer: str, identity: Identity, reason: str, details: str) -> None:
        """A stream was ended by the cloud: `reason` is a label of `neucodex_cloud_ended_streams_total`."""
        self._metrics.count("neucodex_cloud_ended_streams_total", reason=reason)
        who = {**_whose(peer, identity), "reason": reason, "details": _short(details)}
        self._write(logging.WARNING, "ended", reason, str(identity), "a stream was ended", who)

    def limited(self, peer: str, identity: Identity, limit: Limit) -> None:
        """An identity had used up its share of something, and got no more."""
        self._metrics.count("neucodex_cloud_limited_total", limit=limit, by=identity.kind)
        who = {**_whose(peer, identity), "limit": limit}
        self._write(logging.WARNING, "limited", limit, str(identity), "an edge has used up its share", who)

    def connection_ended(self, peer: str, reason: str) -> None:
        """A connection was ended before it had an accepted stream. Any thread may call it."""
        self._metrics.count("neucodex_cloud_ended_connections_total", reason=reason)
        fields: dict[str, str | int | float] = {"peer": peer, "reason": reason}
        self._write(logging.WARNING, "connection_ended", reason, _key(peer, None), "a connection was ended", fields)

    def _write(
        self, level: int, event: str, reason: str, who: str, text: str, fields: dict[str, str | int | float]
    ) -> None:
        kind = event, reason
        with self._lock:
            if not self._allows(kind, who):
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return
            if left_out := self._left_out.pop(kind, 0):
                fields = {**fields, "left_out": left_out}
        said = " ".join(f"{name}={value!r}" for name, value in fields.items())
        log.log(level, "%s: %s", text, said, extra={"event": event, **fields})

    def _allows(self, kind: tuple[str, str], who: str) -> bool:
        now = self._clock()
        key = *kind, who
        one = self._of_one.pop(key, None) or _Allowance(LINES_OF_ONE, ONE_PER_S, now)
        self._of_one[key] = one  # at the end: the one that was heard of longest ago is forgotten first
        if len(self._of_one) > REMEMBERED:
            self._of_one.popitem(last=False)
        of_all = self._of_all.setdefault(kind, _Allowance(LINES_OF_ALL, ALL_PER_S, now))
        return one.spend(now) and of_all.spend(now)


def _whose(peer: str, identity: Identity | None) -> dict[str, str | int | float]:
    known = {} if identity is None else {"identity": _short(identity.name), "identified_by": identity.kind}
    return {"peer": peer, **known}


def _key(peer: str, identity: Identity | None) -> str:
    return str(identity) if identity is not None else peer.rpartition(":")[0]


def _short(text: str) -> str:
    """A text of a peer's choice, bounded, printable and in one line."""
    return "".join(each if each.isprintable() else "?" for each in text[:LONGEST])
