"""The broker's URL, and what goes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.mqtt_options import Broker, MqttOptions
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtts://broker.test/home/hall", Broker("broker.test", 8883, True, None, "home/hall")),
        ("mqtt://127.0.0.1:1884/a", Broker("127.0.0.1", 1884, False, None, "a")),
        ("mqtts://me%40x@[::1]/a%20b/", Broker("::1", 8883, True, "me@x", "a b")),
    ],
)
def test_a_url_names_the_broker_and_the_topic(url: str, expected: Broker) -> None:
    assert MqttOptions(mqtt=url).broker == expected


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mqtt": "broker.test/home"}, "write mqtts://"),
        ({"mqtt": "http://broker.test/home"}, "write mqtts://"),
        ({"mqtt": "mqtt://broker.test"}, "/TOPIC"),
        ({"mqtt": "mqtt://broker.test:99999/a"}, "write mqtts://"),
        ({"mqtt": "mqtt://broker.test/a/#"}, "write mqtts://"),
        ({"mqtt": "mqtt://broker.test/a/+/b"}, "no topic to publish to"),
        ({"mqtt": "mqtt://broker.test/%23"}, "no topic to publish to"),
        ({"mqtt": "mqtt://me:secret@broker.test/a"}, "--mqtt-password-file"),
        ({"mqtt": "mqtt://broker.test/a", "mqtt_ca": Path("ca.pem")}, "mqtts://"),
        ({"mqtt": "mqtts://broker.test/a", "mqtt_cert": Path("a.pem")}, "belong together"),
        ({"mqtt": "mqtts://broker.test/a", "mqtt_password_file": Path("p")}, "needs a user"),
        ({"mqtt_discovery": "homeassistant"}, "--mqtt-discovery is for a broker"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        MqttOptions(**options)  # type: ignore[arg-type]
    assert "secret" not in str(refused.value)


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("ä secret \nmore\n")
    assert MqttOptions(mqtt="mqtts://me@broker.test/a", mqtt_password_file=file).password == "ä secret "
    missing = MqttOptions(mqtt="mqtts://me@broker.test/a", mqtt_password_file=tmp_path / "missing")
    with pytest.raises(ConfigError, match="--mqtt-password-file"):
        _ = missing.password
