"""Verdicts to an MQTT broker, at least once each; paho-mqtt keeps the connection, in a thread of its own.

TOPIC gets a line for each sample, TOPIC/status says `online`, and `offline` as the last will. While the broker is away
verdicts wait, up to QUEUE of them; further ones are dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edge_client.inference.sample import Sample
from edge_client.inference.verdict import Verdict
from edge_client.inputs.base import Still, Unreadable
from edge_client.mqtt_options import MqttOptions
from edge_client.output.home_assistant import discovery
from edge_client.output.lines import Line, failed_line, verdict_line
from edge_client.output.summary import Summary
from shared.errors import ConfigError
from shared.metrics import Metrics

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

QUEUE = 10_000
"""Verdicts that may wait for the broker: about 5 MB."""

KEEPALIVE_S = 30
LONGEST_PAUSE_S = 30
"""Between two tries to connect; the first pause is 1 s, and each is twice the one before."""

LAST_WAIT_S = 5.0
"""For verdicts that are under way when the run ends."""

AT_LEAST_ONCE = 1
ONLINE, OFFLINE = "online", "offline"

log = logging.getLogger(__name__)


class MqttPublisher:
    """The connection to a broker. It connects and reconnects in the background. Close it.

    Args:
        options: which broker.
        bundle: its name, for Home Assistant.
        metrics: of the edge.

    Raises:
        ConfigError: paho-mqtt is not installed, or a file cannot be used.
    """

    def __init__(self, options: MqttOptions, bundle: str, metrics: Metrics) -> None:
        try:
            from paho.mqtt import client  # noqa: PLC0415  the extra `mqtt`
            from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415
        except ImportError:
            raise ConfigError("MQTT needs paho-mqtt: pip install '.[mqtt]' in a checkout") from None
        options.check_files()
        self._broker = options.broker
        self._status = f"{self._broker.topic}/status"
        self._discovery = None
        if options.mqtt_discovery is not None:
            self._discovery = discovery(options.mqtt_discovery, self._broker.topic, self._status, bundle)
        self._metrics = metrics
        self._changed = threading.Condition()
        self._given = self._acknowledged = 0
        """Verdicts. paho calls back under its own lock, which its `publish` takes, so we do not hold ours meanwhile."""
        self._others: set[int] = set()
        """Numbers of messages that are no verdicts; paho's thread sends them itself."""
        self._full = self._closed = False
        self._said = ""
        self._client: Client = client.Client(CallbackAPIVersion.VERSION2)
        self._no_room = client.MQTT_ERR_QUEUE_SIZE
        self._client.max_queued_messages_set(QUEUE)
        self._client.reconnect_delay_set(1, LONGEST_PAUSE_S)
        self._client.will_set(self._status, OFFLINE, AT_LEAST_ONCE, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        if self._broker.user is not None:
            self._client.username_pw_set(self._broker.user, options.password)
        if self._broker.tls:
            context = ssl.create_default_context(cafile=None if options.mqtt_ca is None else str(options.mqtt_ca))
            if options.mqtt_cert is not None:
                context.load_cert_chain(options.mqtt_cert, options.mqtt_key)
            self._client.tls_set_context(context)
        self._client.connect_async(self._broker.host, self._broker.port, KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, line: Line) -> None:
        """Hand a line over. It returns at once."""
        given = self._client.publish(self._broker.topic, json.dumps(line), AT_LEAST_ONCE)
        dropped = given.rc == self._no_room
        if dropped:
            self._metrics.count("neucodex_edge_mqtt_messages_total", outcome="dropped")
        else:
            with self._changed:
                self._given += 1
                self._show()
        if dropped and not self._full:
            log.warning("MQTT: %d verdicts wait for %s already: new ones are dropped", QUEUE, self._broker.host)
        self._full = dropped

    def close(self) -> None:
        """Wait a moment for what is under way, say that the edge is gone, and disconnect."""
        if self._client.is_connected():
            with self._changed:
                self._changed.wait_for(lambda: not self._waiting or not self._client.is_connected(), LAST_WAIT_S)
        left, self._closed = self._waiting, True
        if self._client.is_connected():
            gone = self._client.publish(self._status, OFFLINE, AT_LEAST_ONCE, retain=True)
            with contextlib.suppress(RuntimeError):  # the connection was lost just now
                gone.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()
        if left:
            log.warning("MQTT: %d verdicts did not reach %s", left, self._broker.host)

    @property
    def _waiting(self) -> int:
        """Verdicts that the broker has not acknowledged. One may be acknowledged before it is counted as given."""
        return max(0, self._given - self._acknowledged)

    # paho's thread calls the following methods.

    def _on_connect(self, _: Client, __: Any, ___: ConnectFlags, code: ReasonCode, ____: Properties | None) -> None:
        if code.is_failure:
            self._say(f"{self._broker.host} refuses this edge ({code}): see user, password and the broker's rules")
            return
        self._said = ""
        log.info("MQTT: connected to %s:%d, topic %s", self._broker.host, self._broker.port, self._broker.topic)
        self._metrics.set("neucodex_edge_mqtt_connected", 1)
        self._keep(self._status, ONLINE)
        if self._discovery is not None:
            topic, content = self._discovery
            self._keep(topic, json.dumps(content))

    def _keep(self, topic: str, text: str) -> None:
        self._others.add(self._client.publish(topic, text, AT_LEAST_ONCE, retain=True).mid)

    def _on_connect_fail(self, _: Client, __: Any) -> None:
        error = sys.exc_info()[1]  # paho calls this where it has caught it
        why = getattr(error, "strerror", None) or error
        self._say(f"{self._broker.host}:{self._broker.port} cannot be reached ({why})")

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        self._metrics.set("neucodex_edge_mqtt_connected", 0)
        with self._changed:
            self._changed.notify_all()
        if not self._closed and not self._said:
            self._say(f"the connection to {self._broker.host} was lost ({code})")

    def _on_publish(self, _: Client, __: Any, number: int, ___: ReasonCode, ____: Properties) -> None:
        if number in self._others or self._closed:
            self._others.discard(number)
            return
        with self._changed:
            self._acknowledged += 1
            self._show()
            self._changed.notify_all()
        self._metrics.count("neucodex_edge_mqtt_messages_total", outcome="acknowledged")

    def _show(self) -> None:
        self._metrics.set("neucodex_edge_mqtt_waiting", self._waiting)

    def _say(self, what: str) -> None:
        """Each reason once, until there is a connection again."""
        if what != self._said:
            self._said = what
            log.warning("MQTT: %s; trying on", what)


class MqttReport:
    """A `Report` to a broker: each verdict, and each sample that gets none."""

    def __init__(
        self, publisher: MqttPublisher, class_names: Sequence[str], wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._publisher = publisher
        self._class_names = class_names
        self._wall_clock = wall_clock

    def classified(self, sample: Sample, verdict: Verdict) -> None:
        self._publisher.publish(verdict_line(sample, verdict, self._class_names))

    def failed(self, sample: Sample, reason: str) -> None:
        self._publisher.publish(failed_line(sample, reason, self._class_names, self._wall_clock()))

    def unreadable(self, what: Unreadable) -> None:
        """There is no sample."""

    def still(self, what: Still) -> None:
        """Nothing happens, and nothing is sent: what was said last goes on."""

    def summary(self, figures: Summary) -> None:
        """Of the run, which a broker knows nothing of."""
