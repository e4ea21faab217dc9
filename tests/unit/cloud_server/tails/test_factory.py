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
from cloud_server.tails.spiking import SpikingTail
from cloud_server.tails.spiking_onnx import OnnxSpikingTail
from shared.bundle import Bundle
from shared.bundle_writer import write_graphs
from shared.errors import BundleError, ConfigError
from shared.manifest import Extra
from tests.support.bundles import make_bundle
from tests.support.graphs import with_rate_graphs, with_tail_step

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


def test_spiking_on_a_cpu_takes_onnxruntime_and_else_torch(rate: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    spiking = rate.run_as("spiking")
    assert type(make_tail(spiking, config(spiking))) is SpikingTail
    bundle = with_tail_step(spiking)
    assert choose_runtime(bundle, config(bundle)) == "onnx"
    assert type(make_tail(bundle, config(bundle))) is OnnxSpikingTail
    for asked in ({"runtime": "torch"}, {"device": "cuda"}, {"precision": "bf16"}):
        assert choose_runtime(bundle, config(bundle, **asked)) == "torch"
    assert type(make_tail(bundle, config(bundle, runtime="torch"))) is SpikingTail
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert choose_runtime(bundle, config(bundle)) == "torch"


def test_spiking_with_a_graph_needs_no_torch(rate: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = with_tail_step(rate.run_as("spiking"))
    monkeypatch.setitem(sys.modules, "torch", None)
    make_tail(bundle, config(bundle))


def test_what_spiking_cannot_be_is_refused(rate: Bundle) -> None:
    bundle = with_tail_step(rate.run_as("spiking"))
    with pytest.raises(ConfigError, match="--runtime onnx-int8 has no tail for execution spiking"):
        make_tail(bundle, config(bundle, runtime="onnx-int8"))
    with pytest.raises(ConfigError, match="--precision bf16 needs torch"):
        make_tail(bundle, config(bundle, runtime="onnx", precision="bf16"))


def test_a_graph_for_another_tail_is_refused(tmp_path: Path) -> None:
    bundle, wider = (with_tail_step(make_bundle(tmp_path / str(width), width=width)) for width in (4, 8))
    graph = wider.graph("tail-step")
    mixed = write_graphs(bundle, {"tail-step": graph})
    with pytest.raises(BundleError, match=r"does not take tail-step\.onnx"):
        make_tail(mixed, config(mixed))


@pytest.mark.parametrize("runtime", ["onnx", "onnx-int8"])
def test_a_graph_that_is_asked_for_and_missing_is_said(rate: Bundle, runtime: TailRuntime) -> None:
    with pytest.raises(ConfigError, match=rf"no tail-rate.*\.onnx for --runtime {runtime}:"):
        make_tail(rate, config(rate, runtime=runtime))
    spiking = rate.run_as("spiking")
    with pytest.raises(ConfigError, match=r"no tail-step\.onnx for --runtime onnx:"):
        make_tail(spiking, config(spiking, runtime="onnx"))
