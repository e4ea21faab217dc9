"""`make certs`: an authority of your own, a certificate for the cloud, one for each edge, and a token for each edge.

The authority's key is kept beside the folder, in FOLDER-authority, where no container that mounts the folder sees it:
with it more edges are added and certificates are renewed, and those that are out there go on to work.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import re
import secrets
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

LEAF_DAYS = 825
"""The longest that common clients accept."""

AUTHORITY_DAYS = 3650

CLOUD, FIRST_EDGE = "cloud", "edge"


class Refusal(Exception):
    """What was asked would break something, or cannot be done; the text says what to do."""


class CertificateFolder:
    """The folder with what clouds and edges need, and the authority's key beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority_key = folder.with_name(f"{folder.name}-authority") / "ca.key"
        self.authority = folder / "ca.pem"
        self.tokens = folder / "tokens.txt"

    def begin(self, names: list[str], *, force: bool) -> None:
        """A new authority, the cloud's certificate for `names` (DNS or IP), and the first edge."""
        if not force and (self.authority.exists() or self.authority_key.exists()):
            raise Refusal(
                f"{self.authority} exists: a new authority locks out every edge whose certificate the old one signed. "
                "Add an edge with EDGE=name, renew a certificate with RENEW=name, or say FORCE=1 to replace authority, "
                "keys and tokens"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority_key.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        key, name = ec.generate_private_key(ec.SECP256R1()), _name("neucodex authority")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        usage = _usage(digital_signature=False, key_cert_sign=True, crl_sign=True)
        built = _builder(name, name, key.public_key(), AUTHORITY_DAYS).add_extension(constraints, critical=True)
        signed = built.add_extension(usage, critical=True).sign(key, hashes.SHA256())
        _write_private(self.authority_key, _pem(key))
        self.authority.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        self.tokens.unlink(missing_ok=True)
        self._issue(CLOUD, names)
        self.add_edge(FIRST_EDGE, force=True)

    def add_edge(self, name: str, *, force: bool = False) -> None:
        """A certificate and a token for one more edge."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name) or name in (CLOUD, "ca"):
            raise Refusal(f"{name!r} is no name for an edge: letters, digits, dots and dashes, not `cloud` or `ca`")
        if not force and self._file(name, "pem").exists():
            raise Refusal(f"{self._file(name, 'pem')} exists: renew it with RENEW={name}, or take another name")
        self._issue(name, [name])
        token = secrets.token_urlsafe(32)
        _write_private(self._file(name, "token"), f"{token}\n".encode())
        known = self.tokens.read_text() if self.tokens.exists() else ""
        _write_private(self.tokens, f"{known}# {name}\n{token}\n".encode())

    def renew(self, name: str, names: list[str]) -> None:
        """Another certificate and key of the same authority, for the same names if none are given. A token stays."""
        path = self._file(name, "pem")
        if not path.exists():
            raise Refusal(f"{path} does not exist: there is nothing to renew")
        old = x509.load_pem_x509_certificate(path.read_bytes())
        self._issue(name, names or _names(old))

    def revoke(self, name: str) -> None:
        """Take an edge's token out of the cloud's list."""
        lines = self.tokens.read_text().splitlines() if self.tokens.exists() else []
        if f"# {name}" not in lines:
            raise Refusal(f"{self.tokens} has no token of {name}")
        if sum(line.startswith("# ") for line in lines) == 1:
            raise Refusal(f"{name} has the last token, and a cloud takes no empty list: add another edge first")
        at = lines.index(f"# {name}")
        _write_private(self.tokens, "".join(f"{line}\n" for line in lines[:at] + lines[at + 2 :]).encode())

    def _issue(self, name: str, names: list[str]) -> None:
        if not self.authority_key.exists():
            raise Refusal(
                f"{self.authority_key} is missing, and without the authority's key there are no more certificates of "
                "it: put it back, or begin again with FORCE=1 and bring the new files to every edge"
            )
        authority_key = serialization.load_pem_private_key(self.authority_key.read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(self.authority.read_bytes())
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if name == CLOUD else ExtendedKeyUsageOID.CLIENT_AUTH
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(_name(name), issuer.subject, key.public_key(), LEAF_DAYS)
        for extension, critical in _leaf_extensions(names, purpose, authority_key.public_key()):
            built = built.add_extension(extension, critical)
        signed = built.sign(authority_key, hashes.SHA256())
        _write_private(self._file(name, "key"), _pem(key))
        self._file(name, "pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}.{suffix}"


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    # An hour back: clocks of edges are not always right.
    begins = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _leaf_extensions(
    names: list[str], purpose: ObjectIdentifier, authority: ec.EllipticCurvePublicKey
) -> list[tuple[x509.ExtensionType, bool]]:
    """A certificate is for a server or for a client: an edge's key cannot play the cloud."""
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(digital_signature=True, key_cert_sign=False, crl_sign=False), True),
        (x509.ExtendedKeyUsage([purpose]), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), False),
    ]


def _usage(*, digital_signature: bool, key_cert_sign: bool, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Make an authority, certificates and tokens, and look after them.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="of the cloud, DNS or IP; localhost's if none are given")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--edge", metavar="NAME", help="add one more edge, with a token of its own")
    what.add_argument("--renew", metavar="NAME", help="another certificate for `cloud` or for this edge")
    what.add_argument("--revoke", metavar="NAME", help="take this edge's token out of tokens.txt")
    what.add_argument("--force", action="store_true", help="replace an authority that exists; its edges are locked out")
    asked = parser.parse_intermixed_args()
    certificates, folder = CertificateFolder(asked.folder), asked.folder
    try:
        if asked.edge is not None:
            certificates.add_edge(asked.edge)
            print(f"{folder}: bring ca.pem, {asked.edge}.pem, {asked.edge}.key and {asked.edge}.token to the edge")
        elif asked.renew is not None:
            certificates.renew(asked.renew, asked.names)
            print(f"{folder}: {asked.renew}.pem and {asked.renew}.key are new; nothing restarts for them")
        elif asked.revoke is not None:
            certificates.revoke(asked.revoke)
            print(f"{folder}: tokens.txt has no token of {asked.revoke} any more; bring it to every cloud")
        else:
            certificates.begin(asked.names or ["localhost", "127.0.0.1", "::1"], force=asked.force)
            print(
                f"{folder}: cloud.pem, cloud.key, tokens.txt for the cloud; edge.pem, edge.key, edge.token for an edge"
            )
            print(f"ca.pem is for both; {certificates.authority_key} is the authority's: keep it off every server")
    except Refusal as refusal:
        sys.exit(f"error: {refusal}")


if __name__ == "__main__":
    main()
