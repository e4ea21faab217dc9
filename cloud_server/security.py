"""Decides who may connect: TLS, certificates of edges, tokens. Their files can be replaced while the cloud runs."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from shared.certificates import CertificateExpiry
from shared.command_line import join_address
from shared.errors import ConfigError
from shared.security import (
    AUTHORIZATION,
    bearer,
    check_authority,
    check_pair,
    is_loopback,
    read_named_tokens,
    read_secret,
    read_tokens,
    warn_if_others_can_read,
)

log = logging.getLogger(__name__)

FileStates = tuple[tuple[int, int, int], ...]
"""Of each file: the time of its last change, its size and its inode."""


@dataclass(frozen=True)
class ServerSecurity:
    """How the port is protected.

    Attributes:
        certificate, key: PEM files of this server, for TLS.
        client_ca: PEM file with the authorities of the edges' certificates (mutual TLS).
        token_file: an edge must send one of its tokens. It has several while edges move from an old token to a new one.
        insecure: no TLS.
        anywhere: with `insecure`, no TLS even on an address that other machines can reach.
    """

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None
    insecure: bool = False
    anywhere: bool = False

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--tls-cert and --tls-key belong together: name both")
        if self.insecure and self.certificate is not None:
            raise ConfigError("--insecure and --tls-cert contradict each other: leave one out")
        if not self.insecure and self.certificate is None:
            raise ConfigError(
                "name --tls-cert and --tls-key (`make certs` makes some to try), or say --insecure to do without TLS "
                "on loopback"
            )
        if self.client_ca is not None and self.certificate is None:
            raise ConfigError("--tls-client-ca needs TLS: name --tls-cert and --tls-key too")

    def check(self, listen: tuple[str, int]) -> None:
        """Check that all files can be read, and that no other machine can connect without TLS.

        Raises:
            ConfigError: a file cannot be used, or TLS is missing; the message names flag and file.
        """
        if self.insecure and not self.anywhere and not is_loopback(listen[0]):
            raise ConfigError(
                f"--insecure with --listen {join_address(listen)}: others could read along and take the edges' place; "
                "use TLS, listen on loopback, or say --insecure-anywhere"
            )
        if self.certificate is not None and self.key is not None:
            check_pair(self.certificate, self.key, "--tls-cert, --tls-key")
            warn_if_others_can_read(self.key, "--tls-key")
        if self.client_ca is not None:
            check_authority(self.client_ca, "--tls-client-ca")
        if self.token_file is not None:
            read_tokens(self.token_file, "--token-file")
            warn_if_others_can_read(self.token_file, "--token-file")

    def bind(self, server: grpc.aio.Server, address: str) -> int:
        """Listen on an address.

        Returns:
            The port; 0 if the address cannot be listened on.

        Raises:
            RuntimeError: the address cannot be listened on. (Some versions of gRPC raise, others return 0.)
        """
        if self.certificate is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, Certificates(self).credentials())

    def expiry(self) -> CertificateExpiry:
        """When the certificates run out."""
        return CertificateExpiry({"certificate": self.certificate, "authority": self.client_ca})

    def gate(self) -> TokenGate | None:
        """Checks the tokens of streams; None without a token file."""
        return None if self.token_file is None else TokenGate(self.token_file)


PLAINTEXT = ServerSecurity(insecure=True)


class Certificates:
    """The server's certificate. After its files have changed, it is read again for the next connection.

    gRPC calls it from its own threads. If the files are damaged or do not fit together (they are replaced one after
    the other), the old certificate stays in use.
    """

    def __init__(self, security: ServerSecurity) -> None:
        assert security.certificate is not None
        assert security.key is not None
        self._certificate, self._key, self._client_ca = security.certificate, security.key, security.client_ca
        self._lock = threading.Lock()
        self._states = self._look()

    def credentials(self) -> grpc.ServerCredentials:
        """The argument for `add_secure_port`."""
        return grpc.dynamic_ssl_server_credentials(
            self._read(),
            # It may return None for no change, which the stubs do not know.
            cast(Callable[[], grpc.ServerCertificateConfiguration], self.read_if_changed),
            require_client_authentication=self._client_ca is not None,
        )

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate, if the files have changed; None to keep the one in use."""
        with self._lock:
            states = self._look()
            if states is None or states == self._states:
                return None
            try:
                check_pair(self._certificate, self._key, "--tls-cert, --tls-key")
                if self._client_ca is not None:
                    check_authority(self._client_ca, "--tls-client-ca")
                read = self._read()
            except ConfigError as error:
                log.warning("the old certificate stays in use: %s", error)
                return None
            self._states = states
            log.info("the new certificate %s is in use", self._certificate)
            return read

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (read_secret(self._key, "--tls-key"), read_secret(self._certificate, "--tls-cert"))
        authorities = None if self._client_ca is None else read_secret(self._client_ca, "--tls-client-ca")
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _look(self) -> FileStates | None:
        files = (self._certificate, self._key, *(() if self._client_ca is None else (self._client_ca,)))
        return file_states(files)


class TokenGate:
    """Admits streams with one of the tokens in a file. After the file has changed it is read again.

    `version` counts how often that was.
    """

    def __init__(self, path: Path) -> None:
        self.version = 0
        self._path = path
        self._states = file_states((path,))
        self._expected = self._read()

    def name_of(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
        """The name of the token that a stream's metadata hold; None if they hold none that is known.

        It compares with every token, each in constant time.
        """
        self.read_if_changed()
        values = [value for key, value in metadata or () if key == AUTHORIZATION]
        sent = values[0] if len(values) == 1 else b""
        raw = sent.encode("utf-8", "replace") if isinstance(sent, str) else sent
        matches = [name for expected, name in self._expected if hmac.compare_digest(raw, expected)]
        return matches[0] if matches else None

    def read_if_changed(self) -> None:
        """Read the file if it has changed. A damaged one leaves the old tokens in use."""
        now = file_states((self._path,))
        if now is None or now == self._states:
            return
        try:
            self._expected = self._read()
        except ConfigError as error:
            log.warning("the old tokens stay in use: %s", error)
            return
        self._states = now
        self.version += 1
        log.info("%d tokens from %s are in use", len(self._expected), self._path)

    def _read(self) -> list[tuple[bytes, str]]:
        named = read_named_tokens(self._path, "--token-file")
        return [(bearer(token).encode(), name) for token, name in named.items()]


def file_states(files: Iterable[Path]) -> FileStates | None:
    """The states of files, which differ after a change; None if a file is missing."""
    try:
        stats = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
