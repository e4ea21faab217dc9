"""How an edge reaches a cloud: TLS, a certificate of its own, a token. Files are read anew for each connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from edge_client.link.addresses import Address, Target
from shared.command_line import join_address
from shared.errors import ConfigError
from shared.security import AUTHORIZATION, bearer, check_authority, check_pair, is_loopback, read_secret, read_tokens


@dataclass(frozen=True)
class LinkSecurity:
    """What the link is made of.

    Attributes:
        ca: PEM file with the authorities that this edge trusts; None for those of the system.
        certificate, key: PEM files that this edge shows (mutual TLS).
        name: which the cloud's certificate must have; None for the host of --cloud.
        token_file: whose first token is sent.
        insecure: no TLS; asked for by name.
        anywhere: no TLS even to another machine.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    name: str | None = None
    token_file: Path | None = None
    insecure: bool = False
    anywhere: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--tls-cert and --tls-key belong together: name both")
        if self.insecure and (self.ca or self.certificate or self.name):
            raise ConfigError("--insecure and the --tls flags contradict each other: leave one out")

    def check(self, clouds: Sequence[Address]) -> None:
        """Read all files once, and see that nothing travels in clear where it must not.

        Raises:
            ConfigError: something is wrong; the message names flag and file.
        """
        if self.insecure and not self.anywhere:
            for cloud in clouds:
                if not is_loopback(cloud[0]):
                    raise ConfigError(
                        f"--insecure with --cloud {join_address(cloud)}: spikes and tokens would cross the network in "
                        "clear; use TLS, or say --insecure-anywhere"
                    )
        if self.ca is not None:
            check_authority(self.ca, "--tls-ca")
        if self.certificate is not None and self.key is not None:
            check_pair(self.certificate, self.key, "--tls-cert, --tls-key")
        if self.token_file is not None:
            read_tokens(self.token_file, "--token-file")

    def channel(self, target: Target, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
        """A channel to one machine.

        Raises:
            ConfigError: a file cannot be read any more.
        """
        if self.insecure:
            return grpc.aio.insecure_channel(target.address, options=options)
        credentials = grpc.ssl_channel_credentials(
            None if self.ca is None else read_secret(self.ca, "--tls-ca"),
            None if self.key is None else read_secret(self.key, "--tls-key"),
            None if self.certificate is None else read_secret(self.certificate, "--tls-cert"),
        )
        # Connected to by number; the certificate must be that of the name, and so must a call's authority.
        kept = [option for option in options if self.name is None or option[0] != "grpc.default_authority"]
        named = (*kept, ("grpc.ssl_target_name_override", self.server_name(target)))
        return grpc.aio.secure_channel(target.address, credentials, options=named)

    def server_name(self, target: Target) -> str:
        """The name that the cloud's certificate must have."""
        return self.name or target.named.rpartition(":")[0].strip("[]")

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a stream begins with.

        Raises:
            ConfigError: the token's file cannot be read any more.
        """
        if self.token_file is None:
            return ()
        return ((AUTHORIZATION, bearer(read_tokens(self.token_file, "--token-file")[0])),)


IN_CLEAR = LinkSecurity(insecure=True)
