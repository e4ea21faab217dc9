"""Who may connect: TLS, certificates of edges, tokens. Their files can be renewed in place, while it runs."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from shared.command_line import join_address
from shared.errors import ConfigError
from shared.security import AUTHORIZATION, bearer, check_authority, check_pair, is_loopback, read_secret, read_tokens

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int], ...]
"""Of files: when each was changed, its size and its inode."""


@dataclass(frozen=True)
class ServerSecurity:
    """How the port is guarded.

    Attributes:
        certificate, key: PEM files of this server; TLS is spoken with them.
        client_ca: PEM file with the authorities whose certificates an edge must show (mutual TLS).
        token_file: one of its tokens an edge must send; several, while edges move from an old one to a new one.
        insecure: no TLS; asked for by name.
        anywhere: no TLS even where others than this machine can listen in.
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
        """Read all files once, and see that nothing travels in clear where it must not.

        Raises:
            ConfigError: something is wrong; the message names flag and file.
        """
        if self.insecure and not self.anywhere and not is_loopback(listen[0]):
            raise ConfigError(
                f"--insecure with --listen {join_address(listen)}: others could read along and take the edges' place; "
                "use TLS, listen on loopback, or say --insecure-anywhere"
            )
        if self.certificate is not None and self.key is not None:
            check_pair(self.certificate, self.key, "--tls-cert, --tls-key")
        if self.client_ca is not None:
            check_authority(self.client_ca, "--tls-client-ca")
        if self.token_file is not None:
            read_tokens(self.token_file, "--token-file")

    def bind(self, server: grpc.aio.Server, address: str) -> int:
        """Open the port; the number, 0 where it cannot be had.

        Raises:
            RuntimeError: it cannot be had (gRPC decides which of the two it is).
        """
        if self.certificate is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, Certificates(self).credentials())

    def gate(self) -> TokenGate | None:
        """What streams must pass; None without tokens."""
        return None if self.token_file is None else TokenGate(self.token_file)


IN_CLEAR = ServerSecurity(insecure=True)


class Certificates:
    """The certificate, read anew for the next connection after its files have changed.

    gRPC asks from its own threads. Files that do not fit together (they are replaced one after the other) or are
    damaged leave what was there before.
    """

    def __init__(self, security: ServerSecurity) -> None:
        assert security.certificate is not None
        assert security.key is not None
        self._certificate, self._key, self._client_ca = security.certificate, security.key, security.client_ca
        self._lock = threading.Lock()
        self._stamp = self._look()

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`."""
        return grpc.dynamic_ssl_server_credentials(
            self._read(),
            # The stubs do not know that None is an answer: nothing new.
            cast(Callable[[], grpc.ServerCertificateConfiguration], self.changed),
            require_client_authentication=self._client_ca is not None,
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What is to be used from now on; None for what was used before."""
        with self._lock:
            stamp = self._look()
            if stamp is None or stamp == self._stamp:
                return None
            try:
                check_pair(self._certificate, self._key, "--tls-cert, --tls-key")
                if self._client_ca is not None:
                    check_authority(self._client_ca, "--tls-client-ca")
                read = self._read()
            except ConfigError as error:
                log.warning("the old certificate stays in use: %s", error)
                return None
            self._stamp = stamp
            log.info("the certificate %s is new and in use from now on", self._certificate)
            return read

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (read_secret(self._key, "--tls-key"), read_secret(self._certificate, "--tls-cert"))
        authorities = None if self._client_ca is None else read_secret(self._client_ca, "--tls-client-ca")
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _look(self) -> Stamp | None:
        files = (self._certificate, self._key, *(() if self._client_ca is None else (self._client_ca,)))
        return stamp(files)


class TokenGate:
    """Lets a stream in that brings one of the tokens of a file. The file is read anew when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp((path,))
        self._expected = self._read()

    def admits(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> bool:
        """Whether a stream's metadata carry a token. All are compared, in constant time each."""
        self._renew()
        brought = [value for key, value in metadata or () if key == AUTHORIZATION]
        given = brought[0] if len(brought) == 1 else b""
        raw = given.encode("utf-8", "replace") if isinstance(given, str) else given
        matches = [hmac.compare_digest(raw, expected) for expected in self._expected]
        return any(matches)

    def _renew(self) -> None:
        now = stamp((self._path,))
        if now is None or now == self._stamp:
            return
        try:
            self._expected = self._read()
        except ConfigError as error:
            log.warning("the old tokens stay in use: %s", error)
            return
        self._stamp = now
        log.info("%d tokens from %s are in use from now on", len(self._expected), self._path)

    def _read(self) -> list[bytes]:
        return [bearer(token).encode() for token in read_tokens(self._path, "--token-file")]


def stamp(files: Iterable[Path]) -> Stamp | None:
    """By which a change is seen; None while one of the files is missing."""
    try:
        seen = [file.stat() for file in files]
    except OSError:
        return None
    return tuple((found.st_mtime_ns, found.st_size, found.st_ino) for found in seen)
