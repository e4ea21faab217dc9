from __future__ import annotations

import re
from typing import Any

import pytest

from shared.execution import EXECUTIONS, executions_of, why_not_rate
from shared.network_spec import BottleneckSpec, NetworkSpec, NeuronSpec


def spec(**changes: Any) -> NetworkSpec:
    values: dict[str, Any] = {"bottleneck": BottleneckSpec(1, 1), **changes}
    return NetworkSpec("resnet18", (3, 16, 16), 10, "layer1", **values)


@pytest.mark.parametrize(
    "changes",
    [{}, {"neuron": NeuronSpec(threshold=2.0, initial_membrane=1.0)}, {"timesteps": 255}, {"input_kind": "events"}],
)
def test_neurons_that_only_add_up_have_both_executions(changes: dict[str, Any]) -> None:
    assert why_not_rate(spec(**changes)) is None
    assert executions_of(spec(**changes)) == EXECUTIONS


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bottleneck": None}, r"network\.bottleneck"),
        ({"neuron": NeuronSpec(leak=0.9)}, "leak 0.9"),
        ({"neuron": NeuronSpec(initial_membrane=0.0)}, "initial_membrane 0$"),
        ({"neuron": NeuronSpec(threshold=2.0, initial_membrane=0.5)}, "threshold 2, initial_membrane 0.5"),
        ({"timesteps": 256}, r"network\.timesteps is 256"),
    ],
)
def test_why_a_network_has_no_rate_is_said(changes: dict[str, Any], named: str) -> None:
    reason = why_not_rate(spec(**changes))
    assert reason is not None
    assert re.search(named, reason)
    assert executions_of(spec(**changes)) == ("spiking",)
