"""Certificates of an authority made for a test."""

from __future__ import annotations

from pathlib import Path

import trustme


def issue(authority: trustme.CA, folder: Path, role: str, *names: str) -> tuple[Path, Path]:
    """A certificate and its key, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    issued = authority.issue_cert(*names)
    certificate, key = folder / f"{role}.pem", folder / f"{role}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


def authority_file(authority: trustme.CA, path: Path) -> Path:
    """The authority's own certificate, as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(path)
    return path
