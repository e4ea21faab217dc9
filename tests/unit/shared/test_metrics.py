import re
import urllib.request

import pytest
from prometheus_client import Metric as PageFamily
from prometheus_client.parser import text_string_to_metric_families

from shared.errors import ConfigError
from shared.messages import RejectionCode
from shared.metric_table import (
    BUILD_INFO,
    CLOUD_METRICS,
    EDGE_METRICS,
    MOST_CLASSES,
    REJECTION_REASONS,
    Metric,
    class_labels,
)
from shared.metrics import Metrics


@pytest.mark.parametrize("metric", EDGE_METRICS + CLOUD_METRICS, ids=lambda metric: metric.name)
def test_names_follow_prometheus(metric: Metric) -> None:
    assert re.fullmatch(r"neucodex_(edge|cloud)_[a-z_]+|neucodex_build_info", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert metric.help.endswith(".")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_names_are_unique() -> None:
    names = [metric.name for metric in EDGE_METRICS + CLOUD_METRICS]
    names.remove(BUILD_INFO.name)  # both sides have it
    assert len(names) == len(set(names))


def test_every_metric_of_an_edge_says_its_bundle() -> None:
    assert all("bundle" in metric.labels for metric in EDGE_METRICS)


def test_every_rejection_has_its_label() -> None:
    assert {code.name.lower() for code in RejectionCode} == set(REJECTION_REASONS)


def test_what_is_counted_is_exported() -> None:
    metrics = Metrics(CLOUD_METRICS, {"bundle": ("digits",)})
    metrics.count("neucodex_cloud_frames_total", 3, bundle="digits")
    metrics.observe("neucodex_cloud_stage_seconds", 0.003, stage="tail", bundle="digits")
    metrics.set("neucodex_cloud_streams", 2)
    families = page(metrics)
    samples = {(s.name, s.labels.get("stage")): s.value for family in families.values() for s in family.samples}
    assert samples["neucodex_cloud_frames_total", None] == 3
    assert samples["neucodex_cloud_stage_seconds_count", "tail"] == 1
    assert samples["neucodex_cloud_stage_seconds_count", "gather"] == 0
    assert samples["neucodex_cloud_streams", None] == 2
    assert not any(name.endswith("_created") for name, _ in samples)


def test_a_label_with_one_value_is_not_said_again() -> None:
    metrics = Metrics(EDGE_METRICS, {"class": ("a", "b")}, fixed={"bundle": "digits"})
    metrics.record([("neucodex_edge_predictions_total", 1, {"class": "a"}), ("neucodex_edge_confidence", 0.97, {})])
    metrics.set("neucodex_edge_connected", 1)
    metrics.declare_label_values("meter", "rapl")
    families = page(metrics)
    found = {(sample.name, *sorted(sample.labels.items())): sample.value
             for family in families.values() for sample in family.samples if "le" not in sample.labels}  # fmt: skip
    of = ("bundle", "digits")
    assert found["neucodex_edge_connected", of] == 1
    assert found["neucodex_edge_predictions_total", of, ("class", "a")] == 1
    assert found["neucodex_edge_predictions_total", of, ("class", "b")] == 0
    assert found["neucodex_edge_confidence_sum", of] == 0.97
    assert found["neucodex_edge_measured_joules_total", of, ("meter", "rapl")] == 0


def test_the_label_of_a_class_has_a_bounded_number_of_values() -> None:
    few = tuple(map(str, range(MOST_CLASSES)))
    assert class_labels(few) == few
    many = class_labels(tuple(map(str, range(1000))))
    assert (len(many), len(set(many))) == (1000, MOST_CLASSES)
    assert (many[5], many[-1]) == ("5", "other")


def page(metrics: Metrics) -> dict[str, PageFamily]:
    """What Prometheus would read."""
    port = metrics.serve("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def test_a_taken_port_is_said() -> None:
    metrics = Metrics(EDGE_METRICS)
    port = metrics.serve("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=str(port)):
        Metrics(EDGE_METRICS).serve("127.0.0.1", port)
