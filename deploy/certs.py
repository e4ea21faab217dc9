"""`make certs`: an authority to try TLS with, a certificate for the cloud, one for an edge, and a token.

For a real deployment use your own authority; the flags are the same. The authority's key is not kept: run it again for
other names.
"""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path

import trustme


def write(folder: Path, names: list[str]) -> None:
    """Write ca.pem, cloud.pem, cloud.key, edge.pem, edge.key and tokens.txt; `names` are the cloud's, DNS or IP."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for role, identities in (("cloud", names), ("edge", ["edge.neucodex.invalid"])):
        issued = authority.issue_cert(*identities, common_name=f"neucodex {role}")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (folder / f"{role}.pem").write_bytes(chain)
        _write_private(folder / f"{role}.key", issued.private_key_pem.bytes())
    _write_private(folder / "tokens.txt", secrets.token_urlsafe(32).encode() + b"\n")


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Make a test authority, certificates and a token.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=["localhost", "127.0.0.1", "::1"], help="of the cloud, DNS or IP")
    arguments = parser.parse_args()
    write(arguments.folder, arguments.names)
    print(f"{arguments.folder}: ca.pem, cloud.pem, cloud.key, edge.pem, edge.key, tokens.txt")


if __name__ == "__main__":
    main()
