"""The dashboard as a file: what Grafana knows, what people read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.prometheus import ROOT

GRAFANA = ROOT / "deploy/grafana"
TEXT = (GRAFANA / "dashboards/neucodex.json").read_text()
DASHBOARD: dict[str, Any] = json.loads(TEXT)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_file_is_what_its_program_prints() -> None:
    made = subprocess.run(
        [sys.executable, GRAFANA / "dashboard.py"], stdout=subprocess.PIPE, check=True, text=True
    ).stdout
    assert made == TEXT, "run `make dashboard`"


def test_every_field_is_one_of_grafanas_schema() -> None:
    # The SDK's classes are generated from the schema: what they do not know is lost on the way through them.
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(TEXT)))) == DASHBOARD


def test_a_field_that_grafana_does_not_know_is_noticed() -> None:
    wrong = json.loads(TEXT)
    wrong["panels"][1]["fieldConfig"]["defaults"]["units"] = "s"
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(wrong))) != wrong


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    known = {value for value in vars(units).values() if isinstance(value, str)}
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in known
    assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG"[: len(panel["targets"])])
    assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_a_row_for_each_question_and_every_id_once() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == 9
    assert all(row.endswith("?") for row in rows)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_edges_do_is_filtered_by_instance_and_bundle(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        for selector in re.findall(r"neucodex_\w+\{[^}]*\}|neucodex_\w+", target["expr"]):
            assert 'instance=~"$instance"' in selector, selector
            if selector.startswith("neucodex_edge"):
                assert 'bundle=~"$bundle"' in selector, selector


def test_rates_are_taken_over_several_scrapes_of_an_edge_that_is_read_each_minute() -> None:
    (window,) = (variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "window")
    assert window["current"]["value"] == "5m"
    ranges = set(re.findall(r"\[[^]]*\]", TEXT)) & {f"[{found}]" for found in re.findall(r"\[(\$?\w+)\]", TEXT)}
    assert ranges == {"[$window]"}
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    assert set(re.findall(r"\[(\w+)\]", rules)) <= {"5m", "15m"}


def test_the_data_source_that_panels_name_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert (variables["source"]["type"], variables["source"]["query"]) == ("datasource", source["type"])
    assert source["isDefault"] is True
    # Its uid stands where it is provisioned, and nowhere else.
    assert source["uid"] not in {panel["datasource"]["uid"] for panel in PANELS}
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
