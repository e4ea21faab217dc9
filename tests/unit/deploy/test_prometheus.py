"""Configuration and alerts, by Prometheus's own tool."""

from __future__ import annotations

import subprocess

import yaml

from tests.support.prometheus import DEPLOYED, program


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
