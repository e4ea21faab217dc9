"""Security helpers of both ends of a link: loopback addresses, tokens, keys and certificates in files."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import ssl
import stat
from pathlib import Path

from shared.errors import ConfigError

log = logging.getLogger(__name__)

AUTHORIZATION = "authorization"
"""The metadata key that carries a token, as HTTP has it."""

LEAST_TOKEN = 16
"""Characters: shorter ones can be guessed."""


def bearer(token: str) -> str:
    """A token as the value of `AUTHORIZATION`."""
    return f"Bearer {token}"


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine's own loopback, by name or by number."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_secret(path: Path, flag: str) -> bytes:
    """A key, a certificate or a list of tokens.

    Raises:
        ConfigError: the file cannot be read; `flag` and file are named.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{flag} {path}: cannot be read ({error.strerror})") from None


def read_tokens(path: Path, flag: str) -> tuple[str, ...]:
    """The tokens of a file, as `read_named_tokens` finds them."""
    return tuple(read_named_tokens(path, flag))


def read_named_tokens(path: Path, flag: str) -> dict[str, str]:
    """The tokens of a file, one a line, and the name of each: the comment (# NAME) on the line before it.

    A token without such a line is named after its place in the file. Empty lines do not count. Two tokens may have one
    name, as while an edge moves from one to the other.

    Raises:
        ConfigError: the file cannot be read, has no token, or one that is too short or not printable ASCII.
    """
    named: dict[str, str] = {}
    comment = ""
    for line in read_secret(path, flag).decode("utf-8", "replace").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            named.setdefault(text, comment or str(len(named) + 1))
        comment = text.lstrip("# ") if text.startswith("#") else ""
    if not named:
        raise ConfigError(f"{flag} {path}: there is no token in it; write one a line")
    for number, token in enumerate(named, 1):
        if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(
                f"{flag} {path}: token {number} must be {LEAST_TOKEN} or more printable ASCII characters without spaces"
            )
    return named


def warn_if_others_can_read(path: Path, flag: str) -> None:
    """Log a warning if every user of this machine can read a file with a secret. On Windows it says nothing."""
    if os.name == "posix" and path.stat().st_mode & stat.S_IROTH:
        log.warning("%s %s: every user of this machine can read it; `chmod o-r` keeps it to its owner", flag, path)


def check_pair(certificate: Path, key: Path, flags: str) -> None:
    """Check that a certificate and a key are readable and belong together.

    Raises:
        ConfigError: they are not, or do not; `flags` and files are named.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        why = error.reason or "not in PEM form"
        raise ConfigError(f"{flags}: {certificate} and {key} are no certificate and its key ({why})") from None
    except OSError as error:
        raise ConfigError(f"{flags}: {certificate} or {key} cannot be read ({error.strerror})") from None


def check_authority(path: Path, flag: str) -> None:
    """Check that a file contains certificates of authorities.

    Raises:
        ConfigError: it does not, or cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{flag} {path}: there is no certificate in it") from None
    except OSError as error:
        raise ConfigError(f"{flag} {path}: cannot be read ({error.strerror})") from None


def system_authorities() -> bytes:
    """The authorities that this system trusts, as PEM: OpenSSL's file and folder of them, or the store of Windows.

    gRPC's own list lacks authorities that were added to the system. The variables SSL_CERT_FILE and
    SSL_CERT_DIR name others.

    Raises:
        ConfigError: there are none.
    """
    context = ssl.create_default_context()
    folder = ssl.get_default_verify_paths().capath
    # OpenSSL reads these by name, when it looks for one.
    for path in sorted(Path(folder).glob("*.[0-9]")) if folder else ():
        with contextlib.suppress(ssl.SSLError, OSError):
            context.load_verify_locations(path)
    found = context.get_ca_certs(binary_form=True)
    if not found:
        raise ConfigError(
            "this system has no list of authorities: name that of the cloud's certificate with --tls-ca, or install "
            "the package ca-certificates"
        )
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode()


def _no_password() -> str:
    # OpenSSL would ask on the terminal. An empty one fails, and the message says that the key does not open.
    return ""
