"""What `neucodex-bench testbed` is told, with what --quick and nothing said mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.links.profiles import BY_NAME
from benchmarks.testbed.alternatives import QUICK, choose
from benchmarks.testbed.measure import Options, uncompressed_of

QUICK_N = 12


def options_of(quick: bool, given: Mapping[str, Any]) -> Options:
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
    settings["uncompressed"] = uncompressed_of(settings["bundle"], settings["uncompressed"])
    return Options(quick=quick, **settings)
