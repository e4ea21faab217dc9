"""The dashboard as a file: what Grafana knows, what people read."""

from __future__ import annotations

import json
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
    assert panel["datasource"]["uid"] == "prometheus"
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFG"[: len(panel["targets"])])
    assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_a_row_for_each_question_and_every_id_once() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert len(rows) == 7
    assert all(row.endswith("?") for row in rows)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_data_source_that_panels_name_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["uid"]) == ("prometheus", "prometheus")
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
