"""What becomes of verdicts while there is no broker. tests/integration/test_mqtt.py has a real one."""

from __future__ import annotations

import contextlib
import logging

import pytest

from edge_client.mqtt_options import MqttOptions
from edge_client.output.mqtt import MqttPublisher
from shared.metric_table import EDGE_METRICS
from shared.metrics import Metrics
from tests.support.prometheus import free_port


def test_as_many_wait_as_may_and_the_others_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_client.output.mqtt.QUEUE", 5)
    metrics = Metrics(EDGE_METRICS, fixed={"bundle": "tiny"})
    options = MqttOptions(mqtt=f"mqtt://127.0.0.1:{free_port()}/a")
    with caplog.at_level(logging.WARNING), contextlib.closing(MqttPublisher(options, "tiny", metrics)) as publisher:
        for number in range(8):
            publisher.publish({"sample": str(number)})
    value = metrics.registry.get_sample_value
    of = {"bundle": "tiny"}
    assert value("neucodex_edge_mqtt_messages_total", {"outcome": "dropped", **of}) == 3
    assert value("neucodex_edge_mqtt_messages_total", {"outcome": "acknowledged", **of}) == 0
    assert value("neucodex_edge_mqtt_waiting", of) == 5
    said = [record.getMessage() for record in caplog.records if record.name == "edge_client.output.mqtt"]
    assert sum("new ones are dropped" in line for line in said) == 1
    assert said[-1] == "MQTT: 5 verdicts did not reach 127.0.0.1"
