"""How an edge reaches a cloud: TLS, a certificate of its own, a token. Files are read again for each connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import grpc
import grpc.aio

from edge_client.link import forks
from edge_client.link.addresses import Target
from shared.command_line import Address, join_address, split_address
from shared.errors import ConfigError
from shared.flags import Flag
from shared.proxy import WITHOUT_PROXY, Proxy, proxy_to
from shared.security import (
    AUTHORIZATION,
    bearer,
    check_authority,
    check_pair,
    is_loopback,
    read_secret,
    read_tokens,
    system_authorities,
    warn_if_others_can_read,
)


@dataclass(frozen=True)
class LinkSecurity:
    """TLS and credentials of the link. All files are PEM, but that of the token."""

    ca: Annotated[
        Path | None, Flag("--tls-ca", "Authority of the cloud's certificate; else the system's.", metavar="FILE")
    ] = None
    certificate: Annotated[
        Path | None, Flag("--tls-cert", "This edge's own certificate (mutual TLS).", metavar="FILE")
    ] = None
    key: Annotated[Path | None, Flag("--tls-key", "The key of that certificate.", metavar="FILE")] = None
    name: Annotated[
        str | None,
        Flag("--tls-name", "Expect this name in the cloud's certificate; else the host of --cloud.", metavar="NAME"),
    ] = None
    token_file: Annotated[
        Path | None, Flag("--token-file", "The first token in this file is sent.", metavar="FILE")
    ] = None
    insecure: Annotated[bool, Flag("--insecure", "No TLS, to a cloud on this machine.")] = False
    anywhere: Annotated[bool, Flag("--insecure-anywhere", "No TLS across a network; with --insecure.")] = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--tls-cert and --tls-key belong together: name both")
        if self.insecure and (self.ca or self.certificate or self.name):
            raise ConfigError("--insecure and the --tls flags contradict each other: leave one out")

    def check(self, clouds: Sequence[Address]) -> None:
        """Read all files once, and see that nothing travels in clear across a network unless that was asked for.

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
        elif not self.insecure:
            system_authorities()
        if self.certificate is not None and self.key is not None:
            check_pair(self.certificate, self.key, "--tls-cert, --tls-key")
            warn_if_others_can_read(self.key, "--tls-key")
        if self.token_file is not None:
            read_tokens(self.token_file, "--token-file")
            warn_if_others_can_read(self.token_file, "--token-file")

    def channel(self, target: Target, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
        """A channel to one machine.

        Raises:
            ConfigError: a file cannot be read any more.
        """
        forks.note_use()
        if self.proxy(target) is None:
            options = (*options, WITHOUT_PROXY)
        if self.insecure:
            return grpc.aio.insecure_channel(target.address, options=options)
        credentials = grpc.ssl_channel_credentials(
            system_authorities() if self.ca is None else read_secret(self.ca, "--tls-ca"),
            None if self.key is None else read_secret(self.key, "--tls-key"),
            None if self.certificate is None else read_secret(self.certificate, "--tls-cert"),
        )
        # The connection goes to a number. The certificate must be that of the name, and so must a call's authority.
        kept = [option for option in options if self.name is None or option[0] != "grpc.default_authority"]
        named = (*kept, ("grpc.ssl_target_name_override", self.server_name(target)))
        return grpc.aio.secure_channel(target.address, credentials, options=named)

    def server_name(self, target: Target) -> str:
        """The name that the cloud's certificate must have."""
        return self.name or target.host

    def proxy(self, target: Target) -> Proxy | None:
        """The proxy that a channel to this machine goes by, as the environment says."""
        return proxy_to(target.host, split_address(target.address)[0])

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that a stream begins with: the token, if there is one.

        Raises:
            ConfigError: the token's file cannot be read any more.
        """
        if self.token_file is None:
            return ()
        return ((AUTHORIZATION, bearer(read_tokens(self.token_file, "--token-file")[0])),)


IN_CLEAR = LinkSecurity(insecure=True)
