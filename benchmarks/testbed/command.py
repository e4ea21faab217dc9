"""What `neucodex-bench testbed` is told, with what --quick and nothing said mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.links.profiles import BY_NAME
from benchmarks.testbed.plan import QUICK, choose
from benchmarks.testbed.schema import Alternative
from shared.errors import ConfigError

QUICK_N = 12


@dataclass(frozen=True)
class TestbedOptions:
    """What is asked for; names are of the tables of alternatives, links and edges."""

    bundle: Path
    uncompressed: Path
    dataset: str
    data: Path | None
    alternatives: tuple[Alternative, ...]
    links: tuple[str, ...]
    edges: tuple[str, ...]
    main_link: str
    main_edge: str
    n: int
    n_others: int
    minutes: float
    quick: bool
    edge_host: str | None = None
    cloud_host: str | None = None
    edge_interface: str = ""
    edge_python: str = "python3"


def options_of(quick: bool, given: Mapping[str, Any]) -> TestbedOptions:
    """The options of a run. `quick`: few samples and alternatives, a whole core, loopback, unless others are named.

    Raises:
        ConfigError: there is no such alternative, or no uncompressed network.
    """
    settings = dict(given)
    if quick:
        settings["links"] = settings["links"] or ("loopback",)
        settings["edges"] = settings["edges"] or ("core",)
        settings["alternatives"] = settings["alternatives"] or QUICK
        settings |= {"main_link": settings["links"][0], "main_edge": settings["edges"][0]}
        settings |= {name: min(settings[name], QUICK_N) for name in ("n", "n_others")}
    elif settings["edge_host"] is not None:
        settings["links"] = settings["links"] or (settings["main_link"],)
    settings["links"] = settings["links"] or tuple(BY_NAME)
    settings["edges"] = settings["edges"] or (settings["main_edge"],)
    settings["alternatives"] = choose(settings["alternatives"])
    settings["uncompressed"] = _uncompressed_of(settings["bundle"], settings["uncompressed"])
    return TestbedOptions(quick=quick, **settings)


def _uncompressed_of(bundle: Path, given: Path | None) -> Path:
    """The bundle to compare with: the one given, or the one kept beside the benchmarks.

    Raises:
        ConfigError: there is none.
    """
    kept = given or Path("benchmarks/uncompressed") / bundle.name
    if not (kept / "manifest.json").exists():
        raise ConfigError(
            f"no uncompressed network at {kept}: name one with --uncompressed, or write it with "
            "`neucodex-train export --uncompressed --recipe FILE`"
        )
    return kept
