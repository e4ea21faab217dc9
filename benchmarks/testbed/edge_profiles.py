"""What edges are like: one table, each row with its source; a share of one core of the machine that measures."""

from __future__ import annotations

from benchmarks.testbed.schema import EdgeProfile
from shared.errors import ConfigError

PROFILES: tuple[EdgeProfile, ...] = (
    EdgeProfile("core", 1.0, "a whole core of this machine: a small server, or a phone's fast core"),
    EdgeProfile(
        "pi", 0.1,
        "Raspberry-Pi-like: a Cortex-A72 core at 1.5 GHz multiplies 4 float32 a cycle, 6 GMAC/s at best; a current "
        "server core reaches some ten times that, and the record says what was measured of both",
    ),
    EdgeProfile("weak", 0.04, "a small in-order core, as in cameras and gateways (Cortex-A53, A7)"),
)  # fmt: skip
BY_NAME = {profile.name: profile for profile in PROFILES}


def choose_edges(names: tuple[str, ...]) -> tuple[EdgeProfile, ...]:
    """Profiles by their names.

    Raises:
        ConfigError: there is no such profile.
    """
    for name in names:
        if name not in BY_NAME:
            raise ConfigError(f"no edge is called {name}: there are {', '.join(BY_NAME)}")
    return tuple(BY_NAME[name] for name in names)
