"""Configuration, alerts and the autoscaler's metric, by Prometheus's own tool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.support.prometheus import DEPLOYED, ROOT, program


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], check=False, cwd=DEPLOYED, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_not_before() -> None:
    promtool("test", "rules", "rules_test.yml")


def test_every_alert_is_seen_firing_and_seen_quiet() -> None:
    rules = yaml.safe_load((DEPLOYED / "rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    cases = [case for test in yaml.safe_load((DEPLOYED / "rules_test.yml").read_text())["tests"]
             for case in test["alert_rule_test"]]  # fmt: skip
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_the_autoscaler_sees_the_fullest_bundle_of_a_pod(tmp_path: Path) -> None:
    adapter = yaml.safe_load((ROOT / "deploy/kubernetes/prometheus-adapter.yaml").read_text())
    query = adapter["rules"][0]["metricsQuery"]
    query = query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="neucodex"')
    # Of each bundle the slots in use, and all: the retired one has none.
    pods = {"a": {"old": (256, 256), "new": (0, 256), "retired": (0, 0)}, "b": {"old": (64, 256)}}
    series = [
        {"series": f'{name}{{namespace="neucodex",pod="{pod}",bundle="{bundle}"}}', "values": str(value)}
        for pod, bundles in pods.items()
        for bundle, numbers in bundles.items()
        for name, value in zip(("neucodex_cloud_slots_in_use", "neucodex_cloud_slots"), numbers, strict=True)
    ]
    fullest = [{"labels": '{pod="a"}', "value": 1.0}, {"labels": '{pod="b"}', "value": 0.25}]
    asked = {"expr": query, "eval_time": "0m", "exp_samples": fullest}
    test = {"tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [asked]}]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(tmp_path / "test.yml"))
