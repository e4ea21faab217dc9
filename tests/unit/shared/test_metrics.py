import re
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.errors import ConfigError
from shared.messages import RejectionCode
from shared.metrics import CLOUD_METRICS, EDGE_METRICS, REJECTION_REASONS, Metric, Metrics


@pytest.mark.parametrize("metric", EDGE_METRICS + CLOUD_METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"neucodex_(edge|cloud)_[a-z_]+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_names_are_unique() -> None:
    names = [metric.name for metric in EDGE_METRICS + CLOUD_METRICS]
    assert len(names) == len(set(names))


def test_every_rejection_has_its_label() -> None:
    assert {code.name.lower() for code in RejectionCode} == set(REJECTION_REASONS)


def test_what_is_counted_is_exported() -> None:
    metrics = Metrics(CLOUD_METRICS, {"bundle": ("digits",)})
    metrics.count("neucodex_cloud_frames_total", 3, bundle="digits")
    metrics.observe("neucodex_cloud_stage_seconds", 0.003, stage="tail", bundle="digits")
    metrics.set("neucodex_cloud_streams", 2)
    port = metrics.serve("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    samples = {(s.name, s.labels.get("stage")): s.value for family in families.values() for s in family.samples}
    assert samples["neucodex_cloud_frames_total", None] == 3
    assert samples["neucodex_cloud_stage_seconds_count", "tail"] == 1
    assert samples["neucodex_cloud_stage_seconds_count", "gather"] == 0
    assert samples["neucodex_cloud_streams", None] == 2


def test_a_taken_port_is_said() -> None:
    metrics = Metrics(EDGE_METRICS)
    port = metrics.serve("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=str(port)):
        Metrics(EDGE_METRICS).serve("127.0.0.1", port)
