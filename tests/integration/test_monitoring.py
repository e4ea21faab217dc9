"""A real Prometheus reads a real pair: every panel and every alert has something to say."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
import yaml

from tests.support.bundles import make_bundle
from tests.support.certificates import authority_file, issue
from tests.support.edges import edge_process, rename_classes
from tests.support.graphs import with_tail_step
from tests.support.processes import cloud_process, wait_for
from tests.support.prometheus import DEPLOYED, ROOT, Prometheus, prometheus

DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/neucodex.json").read_text())
QUERIES = [
    pytest.param(target, id=f"{panel['title']}: {target['legendFormat']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
RULES = [rule for group in yaml.safe_load((DEPLOYED / "rules.yml").read_text())["groups"] for rule in group["rules"]]
VARIABLES = {"$window": "5s", "$bundle": ".*", "$instance": ".*"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has seen a pair at work for some seconds, and goes on seeing it."""
    folder = tmp_path_factory.mktemp("monitoring")
    bundle = with_tail_step(rename_classes(make_bundle(folder / "bundle", threshold=0.5), tuple("0123456789")))
    meter = folder / "meter.csv"
    meter.write_text("power_W\n2.5\n")
    authority = trustme.CA()
    ca = str(authority_file(authority, folder / "ca.pem"))
    cloud_pair, edge_pair = (issue(authority, folder, role, "127.0.0.1") for role in ("cloud", "edge"))
    guarded = ("--tls-cert", str(cloud_pair[0]), "--tls-key", str(cloud_pair[1]), "--tls-client-ca", ca)
    with (
        cloud_process(folder / "cloud", [bundle.path], *guarded) as cloud,
        edge_process(
            "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits",
            "--repeat", "0", "--rate", "40", "--show", "0", "--metrics", "127.0.0.1:0", "--radio", "wifi",
            "--power-meter", str(meter),
            "--tls-ca", ca, "--tls-cert", str(edge_pair[0]), "--tls-key", str(edge_pair[1]),
        ) as edge,
    ):  # fmt: skip
        assert edge.stderr is not None
        said = next(found for line in edge.stderr if (found := re.search(r"http://(.*)/metrics", line)))
        targets = {"neucodex-cloud": [cloud.metrics_address], "neucodex-edge": [said[1]]}
        with prometheus(folder / "prometheus", targets) as server:
            wait_for(lambda: at_work(server), "the pair to be at work and the rules evaluated")
            yield server
        assert edge.poll() is None
        assert cloud.process.poll() is None


def at_work(server: Prometheus) -> bool:
    """All has been read often enough for rates, and recorded since."""
    seen = ("neucodex_edge_sample_seconds_count", "neucodex_cloud_loop_lag_seconds_count", "process_cpu_seconds_total")
    recorded = [rule["record"] for rule in RULES if "record" in rule]
    return all(has_data(server, f"rate({name}[5s]) > 0") for name in seen) and all(
        has_data(server, name) for name in recorded
    )


def has_data(server: Prometheus, expression: str) -> bool:
    """Whether the answer holds a number."""
    return any(math.isfinite(series.value) for series in server.query(expression))


@pytest.mark.parametrize("target", QUERIES)
def test_a_panel_has_data(watched: Prometheus, target: dict[str, Any]) -> None:
    expression = target["expr"]
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    assert has_data(watched, expression), f"no data: {expression}"
    named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert all(named <= series.labels.keys() for series in watched.query(expression)), "a legend without its label"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_an_alert_compares_something_that_is_there(watched: Prometheus, rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    if "alert" in rule:
        compared = re.fullmatch(r"(.*) (?:==|<|>) [\d.]+", expression, re.DOTALL)
        assert compared is not None, "an alert is EXPRESSION OPERATOR NUMBER"
        expression = compared[1]
    assert has_data(watched, expression), f"no data: {expression}"


def test_nothing_is_wrong_with_a_pair_at_work(watched: Prometheus) -> None:
    states = {rule["name"]: rule["state"] for rule in watched.rules() if rule["type"] == "alerting"}
    assert states
    # Slow machines may find their own tests slow.
    assert {name for name, state in states.items() if state != "inactive"} <= {"SampleLatencyHigh", "EventLoopLate"}


def test_what_is_read_is_what_happens(watched: Prometheus) -> None:
    (per_second,) = watched.query("sum(rate(neucodex_edge_samples_total[5s]))")
    assert 0 < per_second.value < 60  # at most 40 were asked for; a window of some seconds is not sharp
    assert [series.value for series in watched.query("sum(neucodex_edge_connected)")] == [1.0]
