"""Where verdicts are published by MQTT: the flags, and the URL taken apart."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from shared.errors import ConfigError
from shared.flags import Flag
from shared.security import check_authority, check_pair, read_secret

PORTS = {"mqtt": 1883, "mqtts": 8883}
"""The usual ports of brokers, in clear and with TLS."""

FORM = "mqtts://[USER@]HOST[:PORT]/TOPIC"


@dataclass(frozen=True)
class Broker:
    """A broker, and the topic of an edge there."""

    host: str
    port: int
    tls: bool
    user: str | None
    topic: str


@dataclass(frozen=True)
class MqttOptions:
    """Which broker gets verdicts, and how it is trusted. Without `mqtt` there is none."""

    mqtt: Annotated[
        str | None,
        Flag("--mqtt", f"Publish each verdict to a broker: {FORM}; mqtt:// does without TLS.", metavar="URL"),
    ] = None
    mqtt_ca: Annotated[
        Path | None, Flag("--mqtt-ca", "Authority of the broker's certificate; else the system's.", metavar="FILE")
    ] = None
    mqtt_cert: Annotated[
        Path | None, Flag("--mqtt-cert", "This edge's own certificate for the broker.", metavar="FILE")
    ] = None
    mqtt_key: Annotated[Path | None, Flag("--mqtt-key", "The key of that certificate.", metavar="FILE")] = None
    mqtt_password_file: Annotated[
        Path | None, Flag("--mqtt-password-file", "The first line is the password of the URL's user.", metavar="FILE")
    ] = None
    mqtt_discovery: Annotated[
        str | None,
        Flag("--mqtt-discovery", "Tell Home Assistant of this edge, under its prefix.", metavar="PREFIX"),
    ] = None

    def __post_init__(self) -> None:
        if self.mqtt is None:
            extra = [field.name for field in fields(self) if getattr(self, field.name) is not None]
            if extra:
                raise ConfigError(f"--{extra[0].replace('_', '-')} is for a broker: name one with --mqtt {FORM}")
            return
        broker = self.broker
        if (self.mqtt_cert is None) != (self.mqtt_key is None):
            raise ConfigError("--mqtt-cert and --mqtt-key belong together: name both")
        if not broker.tls and (self.mqtt_ca or self.mqtt_cert):
            raise ConfigError("--mqtt-ca and --mqtt-cert are for TLS: let the URL begin with mqtts://")
        if self.mqtt_password_file is not None and broker.user is None:
            raise ConfigError(f"--mqtt-password-file needs a user in the URL: {FORM}")

    @property
    def broker(self) -> Broker:
        """The URL taken apart.

        Raises:
            ConfigError: it is none.
        """
        assert self.mqtt is not None
        parts = urlsplit(self.mqtt)
        topic = unquote(parts.path.strip("/"))
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in PORTS or not parts.hostname or not topic or port == 0 or set(self.mqtt) & set("?#"):
            raise ConfigError(f"--mqtt is {self._shown}: write {FORM}, or mqtt:// without TLS")
        if "+" in topic or "#" in topic or "\x00" in topic:
            raise ConfigError(f"--mqtt: {topic} is no topic to publish to: leave out + and #")
        if parts.password is not None:
            raise ConfigError("--mqtt has a password, which others can see: put it into --mqtt-password-file")
        user = None if parts.username is None else unquote(parts.username)
        return Broker(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "mqtts", user, topic)

    @property
    def password(self) -> str | None:
        """Of the user.

        Raises:
            ConfigError: its file cannot be read.
        """
        if self.mqtt_password_file is None:
            return None
        lines = read_secret(self.mqtt_password_file, "--mqtt-password-file").decode("utf-8", "replace").splitlines()
        return lines[0] if lines else ""

    def check_files(self) -> None:
        """Read all files once.

        Raises:
            ConfigError: one cannot be used; the message names flag and file.
        """
        if self.mqtt_ca is not None:
            check_authority(self.mqtt_ca, "--mqtt-ca")
        if self.mqtt_cert is not None and self.mqtt_key is not None:
            check_pair(self.mqtt_cert, self.mqtt_key, "--mqtt-cert, --mqtt-key")

    @property
    def _shown(self) -> str:
        """The URL for a message, without what may be a password."""
        return str(self.mqtt).rpartition("@")[2]
