"""What `neucodex-bench testbed` is told, with what --quick and nothing said mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.links.profiles import BY_NAME, LinkProfile
from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.plan import ALTERNATIVES, EDGE_PROFILES, QUICK, choose
from benchmarks.testbed.schema import EdgeProfile
from shared.errors import ConfigError

QUICK_N = 12
QUICK_FIT = 20
"""Held-out pictures that qualities are fitted on."""


@dataclass(frozen=True)
class TestbedOptions:
    """What is asked for; `neucodex-bench testbed --help` says what each is."""

    __test__ = False  # pytest would take its name for a test's

    bundle: Path
    uncompressed: Path
    dataset: str
    data: Path | None
    alternatives: tuple[Alternative, ...]
    links: tuple[LinkProfile, ...]
    edges: tuple[EdgeProfile, ...]
    main_link: str
    main_edge: str
    board: str
    n: int
    n_others: int
    n_fit: int
    minutes: float
    quick: bool
    edge_host: str | None
    cloud_host: str | None
    edge_interface: str
    edge_python: str


def options_of(quick: bool, given: Mapping[str, Any]) -> TestbedOptions:
    """The options of a run. `quick`: few samples and alternatives, a whole core, loopback, unless others are named.

    Raises:
        ConfigError: something asked for is not there.
    """
    settings = dict(given)
    edges = {profile.name: profile for profile in EDGE_PROFILES}
    alternatives = {alternative.name: alternative for alternative in ALTERNATIVES}
    if quick:
        settings["links"] = settings["links"] or ("loopback",)
        settings["edges"] = settings["edges"] or ("core",)
        settings["alternatives"] = settings["alternatives"] or QUICK
        settings |= {"main_link": settings["links"][0], "main_edge": settings["edges"][0]}
        settings |= {name: min(settings[name], QUICK_N) for name in ("n", "n_others")}
        settings["n_fit"] = min(settings["n_fit"], QUICK_FIT)
    elif settings["edge_host"] is not None:
        settings["links"] = settings["links"] or (settings["main_link"],)
    settings["links"] = choose(BY_NAME, settings["links"] or tuple(BY_NAME), "link")
    settings["edges"] = choose(edges, settings["edges"] or (settings["main_edge"],), "edge")
    settings["alternatives"] = choose(alternatives, settings["alternatives"] or tuple(alternatives), "alternative")
    for name in ("link", "edge"):
        if settings[f"main_{name}"] not in [profile.name for profile in settings[f"{name}s"]]:
            raise ConfigError(f"--main-{name} {settings[f'main_{name}']} must be among --{name}s")
    kept = settings["uncompressed"] or Path("benchmarks/uncompressed") / settings["bundle"].name
    if not (kept / "manifest.json").exists():
        raise ConfigError(
            f"no uncompressed network at {kept}: name one with --uncompressed, or write it with "
            "`neucodex-train export --uncompressed --recipe FILE`"
        )
    return TestbedOptions(quick=quick, **{**settings, "uncompressed": kept})
