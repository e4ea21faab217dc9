"""Which tail a bundle gets, by its execution, its graphs, and what is installed and asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cloud_server.config import CloudConfig, TailRuntime
from cloud_server.tails.factory import choose_runtime, make_tail
from cloud_server.tails.rate import RateTail
from cloud_server.tails.rate_onnx import OnnxRateNetwork
from cloud_server.tails.rate_torch import TorchRateNetwork
from cloud_server.tails.traced import TracedTail
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.manifest import Extra
from tests.support.bundles import make_bundle
from tests.support.graphs import with_rate_graphs

GRAPHS: tuple[Extra, ...] = ("tail-rate", "tail-rate-int8")


@pytest.fixture
def rate(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path).run_as("rate")


def config(bundle: Bundle, **given: Any) -> CloudConfig:
    return CloudConfig((bundle.path,), **given)


@pytest.mark.parametrize(
    ("parts", "chosen"), [((), "torch"), (GRAPHS[:1], "onnx"), (GRAPHS, "onnx-int8"), (GRAPHS[1:], "onnx-int8")]
)
def test_rate_on_a_cpu_takes_integers_first_then_onnxruntime_then_torch(
    rate: Bundle, parts: tuple[Extra, ...], chosen: TailRuntime
) -> None:
    bundle = with_rate_graphs(rate, *parts)
    assert choose_runtime(bundle, config(bundle)) == chosen
    tail = make_tail(bundle, config(bundle))
    assert isinstance(tail, RateTail)
    assert isinstance(tail._network, TorchRateNetwork if chosen == "torch" else OnnxRateNetwork)


@pytest.mark.parametrize("runtime", ["torch", "onnx", "onnx-int8"])
def test_what_is_asked_for_is_taken(rate: Bundle, runtime: TailRuntime) -> None:
    bundle = with_rate_graphs(rate, *GRAPHS)
    assert choose_runtime(bundle, config(bundle, runtime=runtime)) == runtime
    make_tail(bundle, config(bundle, runtime=runtime))


def test_a_gpu_and_a_machine_without_onnxruntime_take_torch(rate: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_rate_graphs(rate, *GRAPHS)
    assert choose_runtime(bundle, config(bundle, device="cuda")) == "torch"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert choose_runtime(bundle, config(bundle)) == "torch"


def test_rate_with_a_graph_needs_no_torch(rate: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_rate_graphs(rate, "tail-rate")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_runtime(bundle, config(bundle)) == "onnx"
    make_tail(bundle, config(bundle))
    for lacking in (rate, bundle.run_as("spiking")):
        with pytest.raises(ConfigError, match=rf"execution {lacking.execution} needs torch here: pip install"):
            choose_runtime(lacking, config(lacking))


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_spiking_has_no_graph_for_a_cloud(rate: Bundle, runtime: TailRuntime) -> None:
    bundle = with_rate_graphs(rate, *GRAPHS).run_as("spiking")
    assert type(make_tail(bundle, config(bundle))) is TracedTail
    with pytest.raises(ConfigError, match=f"--runtime {runtime} has no tail for execution spiking"):
        make_tail(bundle, config(bundle, runtime=runtime))


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_a_graph_that_is_asked_for_and_missing_is_said(rate: Bundle, runtime: TailRuntime) -> None:
    with pytest.raises(ConfigError, match=rf"no tail-rate.*\.onnx for --runtime {runtime}:"):
        make_tail(rate, config(rate, runtime=runtime))
