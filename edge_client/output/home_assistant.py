"""What Home Assistant must know to show an edge as a device: one retained message, its MQTT discovery."""

from __future__ import annotations

import re
from typing import Any

from shared.version import VERSION

SENSORS: dict[str, dict[str, str]] = {
    "class": {"name": "Class", "value_template": "{{ value_json.prediction }}", "icon": "mdi:shape"},
    "confidence": {
        "name": "Confidence",
        "value_template": "{{ (value_json.confidence * 100) | round(1) if value_json.confidence is number }}",
        "unit_of_measurement": "%",
        "state_class": "measurement",
    },
    "answered_by": {
        "name": "Answered by",
        "value_template": "{{ value_json.answered_by }}",
        "entity_category": "diagnostic",
    },
}
"""One for each field of a verdict's line that Home Assistant shows."""


def discovery(prefix: str, topic: str, status_topic: str, bundle: str) -> tuple[str, dict[str, Any]]:
    """Topic and content of the message that announces an edge.

    Args:
        prefix: that Home Assistant listens under, usually `homeassistant`.
        topic: of the edge's verdicts. The device's identity is made from it, so it stays the same over restarts.
        status_topic: where the edge says `online` and `offline`.
        bundle: its name, the device's model.
    """
    node = "neucodex_" + re.sub(r"[^a-zA-Z0-9_-]", "_", topic)
    components = {
        name: {"platform": "sensor", "unique_id": f"{node}_{name}", **settings} for name, settings in SENSORS.items()
    }
    return f"{prefix.strip('/')}/device/{node}/config", {
        "device": {
            "identifiers": [node],
            "name": f"NeuCODEX {topic}",
            "manufacturer": "NeuCODEX",
            "model": bundle,
            "sw_version": VERSION,
        },
        "origin": {"name": "NeuCODEX", "sw_version": VERSION},
        "components": components,
        "state_topic": topic,
        "json_attributes_topic": topic,
        "availability_topic": status_topic,
        "qos": 1,
    }
