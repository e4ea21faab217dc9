"""Chooses the form of a network that training runs for each execution: the one that is deployed by default."""

from __future__ import annotations

from collections.abc import Mapping

from shared.bundle import Bundle
from shared.execution import Execution
from shared.models.load import load_network
from shared.models.split import SplitNetwork
from training.executed import Executed, Rate, Spiking
from training.rate_graphs import OnnxRate, RateGraphs, executed_by_graphs


def execute_network(network: SplitNetwork, graphs: RateGraphs | None) -> Mapping[Execution, Executed]:
    """A network in each of its executions; the graphs are those of `rate`, None where it has no such execution."""
    spiking: dict[Execution, Executed] = {"spiking": Spiking(network.edge, network.cloud)}
    return spiking if graphs is None else {"rate": OnnxRate(network, graphs.head, graphs.tail), **spiking}


def execute_bundle(bundle: Bundle) -> Executed:
    """A bundle in its chosen execution; `rate` by its graphs, as its edge and a cloud on a CPU run it, if it has some.

    Raises:
        BundleError: its files are missing or damaged.
    """
    network = load_network(bundle)
    if bundle.execution == "spiking":
        return Spiking(network.edge, network.cloud)
    settings = bundle.settings
    by_graphs = executed_by_graphs(bundle, network)
    return by_graphs or Rate(network.edge, network.cloud, settings.head_levels, settings.tail_levels)
