"""When certificates run out, against what made them."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest
import trustme

from shared.certificates import CertificateExpiry, not_after
from tests.support.certificates import authority_file, issue

ENDS = [datetime(2031, 5, 6, 7, 8, 9, tzinfo=timezone.utc), datetime(2061, 1, 2, tzinfo=timezone.utc)]


def expiry(**files: Path | None) -> dict[str, float]:
    (family,) = CertificateExpiry(files).collect()
    return {sample.labels["of"]: sample.value for sample in family.samples}


@pytest.mark.parametrize("ends", ENDS, ids=lambda ends: str(ends.year))
@pytest.mark.parametrize("kind", list(trustme.KeyType))
def test_the_date_is_the_certificates(ends: datetime, kind: trustme.KeyType) -> None:
    issued = trustme.CA(key_type=kind).issue_cert("edge.test", not_after=ends, key_type=kind)
    pem = issued.cert_chain_pems[0].bytes().decode()
    assert not_after(ssl.PEM_cert_to_DER_cert(pem)) == ends.timestamp()


def test_files_are_read_at_each_look(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = authority_file(authority, tmp_path / "ca.pem")
    certificate, _ = issue(authority, tmp_path, "edge", "edge.test")
    for ends in ENDS:
        new = authority.issue_cert("edge.test", not_after=ends)
        certificate.write_bytes(new.cert_chain_pems[0].bytes() + ca.read_bytes())
        found = expiry(certificate=certificate, authority=ca)
        assert found["certificate"] == ends.timestamp()
        assert found["authority"] > 2e9
    # An old authority beside the new one is no reason to worry.
    ca.write_bytes(certificate.read_bytes() + ca.read_bytes())
    assert expiry(authority=ca)["authority"] == found["authority"]


@pytest.mark.parametrize("damage", ["", "no certificate", "cut"])
def test_what_cannot_be_read_has_no_value(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "x.pem"
    whole = trustme.CA().cert_pem.bytes().decode()
    lines = whole.splitlines()
    file.write_text("\n".join([lines[0], "MIIB", lines[-1]]) if damage == "cut" else damage)
    assert expiry(certificate=file, authority=None) == {}
    assert expiry(certificate=tmp_path / "missing.pem") == {}
