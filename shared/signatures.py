"""Who made a bundle: Ed25519 signatures of its fingerprint, in a file beside the manifest.

The manifest names the SHA-256 of each file that a program reads, and the fingerprint is the SHA-256 of the manifest.
So one signature covers them all, whichever half a machine has. Signing needs the package `cryptography`, and so does
an edge or cloud that is told whom to trust.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURES = "manifest.sig"
"""The file in a bundle's folder: a line for each signature, the name of its key and the signature in base64."""

PURPOSE = b"neucodex-bundle "
"""Stands before the fingerprint in what is signed, so that a signature of anything else by the same key does not do."""

PUBLIC = ".pub"
"""What the name of a public key's file adds to that of the private key."""

MOST_BYTES = 1 << 16
"""Of a file with a key or signatures."""


def check_signed(folder: Path, fingerprint: bytes, trusted: Sequence[Path]) -> None:
    """Make sure that one of the trusted keys signed a bundle.

    Args:
        folder: of the bundle.
        fingerprint: of the manifest as it was read.
        trusted: files with a public key each, PEM. They are read now.

    Raises:
        BundleError: none of them signed it.
        ConfigError: a key cannot be read, or `cryptography` is not installed.
    """
    _need_library()
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  an optional package

    keys = [_read_public(path) for path in trusted]
    signatures = _signatures(folder)
    for key in keys:
        for signature in signatures.values():
            try:
                key.verify(signature, PURPOSE + fingerprint)
            except InvalidSignature:
                continue
            return
    wanted = ", ".join(f"{path} ({key_name(key)})" for path, key in zip(trusted, keys, strict=True))
    found = f"it bears signatures of {', '.join(signatures)}" if signatures else "it bears no signature"
    if any(key_name(key) in signatures for key in keys):
        found = "it was changed after it was signed"
    raise BundleError(
        f"bundle {folder} is not signed by a key of --trust, {wanted}: {found}; copy the signed folder again"
    )


def sign(folder: Path, fingerprint: bytes, key: Path) -> str:
    """Add a signature by a private key to a bundle; one that the key made before is replaced.

    Returns:
        The key's name, see `key_name`.

    Raises:
        ConfigError: the key cannot be read, or `cryptography` is not installed.
    """
    _need_library()
    private = _read_private(key)
    name = key_name(private.public_key())
    signatures = {**_signatures(folder), name: private.sign(PURPOSE + fingerprint)}
    text = "".join(f"{signer} {base64.b64encode(value).decode()}\n" for signer, value in signatures.items())
    partial = folder / f"{SIGNATURES}.partial"
    partial.write_text(text)
    partial.replace(folder / SIGNATURES)
    return name


def make_key(path: Path) -> str:
    """Write a new private key to `path`, readable by its owner alone, and the public one beside it (`.pub`).

    Returns:
        The key's name.

    Raises:
        ConfigError: one of the files is there already or cannot be written, or `cryptography` is not installed.
    """
    _need_library()
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  an optional package
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    private = Ed25519PrivateKey.generate()
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    secret = private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = path.with_name(path.name + PUBLIC)
    for file, content, mode in ((path, secret, 0o600), (public, private.public_key().public_bytes(pem, form), 0o644)):
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
                opened.write(content)
        except FileExistsError:
            raise ConfigError(f"{file} exists: keys are not replaced; name another file") from None
        except OSError as error:
            raise ConfigError(f"{file} cannot be written ({error.strerror})") from None
    return key_name(private.public_key())


def key_name(key: Ed25519PublicKey) -> str:
    """A key's short name: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _signatures(folder: Path) -> dict[str, bytes]:
    """The signatures by the names of their keys; none where there is no file."""
    path = folder / SIGNATURES
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot read {SIGNATURES} ({error.strerror})") from None
    return dict(_parsed(raw, f"bundle {folder}: {SIGNATURES}"))


def _parsed(raw: bytes, where: str) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(raw.splitlines(), 1):
        name, _, encoded = line.partition(b" ")
        try:
            yield name.decode("ascii"), base64.b64decode(encoded, validate=True)
        except (UnicodeDecodeError, binascii.Error):
            raise BundleError(f"{where}, line {number}, is no signature: remove the line, or sign again") from None


def _read_public(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  an optional package
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    key: object
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} is no public Ed25519 key (PEM): take the {PUBLIC} of `neucodex-train make-key`")
    return key


def _read_private(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  an optional package
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    key: object
    try:
        key = load_pem_private_key(_read(path), None)
    except TypeError:
        raise ConfigError(f"{path} has a password: take it off with `openssl pkey` while you sign") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is no private Ed25519 key (PEM): make one with `neucodex-train make-key`")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read ({error.strerror})") from None


def _need_library() -> None:
    if find_spec("cryptography") is None:
        raise ConfigError("signatures need the package cryptography: pip install 'cryptography>=42'")
