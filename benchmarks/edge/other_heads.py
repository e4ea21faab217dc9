"""Heads that no edge runs, for comparison: plain snnTorch, and our form under torch.compile."""

from __future__ import annotations

import torch

from benchmarks.snntorch_neuron import Leaky
from edge_client.heads.torch_head import TorchHead
from shared.bundle import Bundle
from shared.models.load import load_edge


def plain_snntorch(bundle: Bundle) -> TorchHead:
    """The modules as they were trained, `snn.Leaky` in each neuron's place, no fusing, the default memory layout."""
    head = TorchHead(bundle)
    head.network = load_edge(bundle)
    for neuron in head.network.neurons:
        neuron.recurrence = Leaky(neuron)
    return head


def compiled(bundle: Bundle) -> TorchHead:
    """The form for inference under torch.compile, its neurons out of place so that all of it can be fused."""
    head = TorchHead(bundle)
    for neuron in head.network.neurons:
        neuron.recurrence = None
    head.network.step = torch.compile(head.network.step, dynamic=False)  # type: ignore[method-assign]
    return head
