"""`make certs`: what it issues, and that nothing is replaced that edges out there depend on."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.certs import CertificateFolder, Refusal
from shared.security import check_pair, read_tokens


@pytest.fixture
def certificates(tmp_path: Path) -> CertificateFolder:
    made = CertificateFolder(tmp_path / "certs")
    made.begin(["cloud.example", "127.0.0.1"], force=False)
    return made


def state(certificates: CertificateFolder) -> dict[str, bytes]:
    files = [*certificates.folder.iterdir(), certificates.authority_key]
    return {path.name: path.read_bytes() for path in files}


def loaded(certificates: CertificateFolder, name: str) -> x509.Certificate:
    check_pair(certificates.folder / f"{name}.pem", certificates.folder / f"{name}.key", name)
    return x509.load_pem_x509_certificate((certificates.folder / f"{name}.pem").read_bytes())


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in found]


@pytest.mark.parametrize(
    ("name", "purpose", "known"),
    [
        ("cloud", ExtendedKeyUsageOID.SERVER_AUTH, ["cloud.example", "127.0.0.1"]),
        ("edge", ExtendedKeyUsageOID.CLIENT_AUTH, ["edge"]),
        ("hall", ExtendedKeyUsageOID.CLIENT_AUTH, ["hall"]),
    ],
)
def test_a_certificate_is_for_one_purpose_and_for_825_days(
    certificates: CertificateFolder, name: str, purpose: x509.ObjectIdentifier, known: list[str]
) -> None:
    certificates.add_edge("hall")
    found = loaded(certificates, name)
    assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]
    assert found.not_valid_after_utc - found.not_valid_before_utc <= datetime.timedelta(days=825)
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
    assert names(found) == known
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(certificates.authority.read_bytes()))


def test_a_second_time_nothing_is_replaced_unless_forced(certificates: CertificateFolder) -> None:
    before = state(certificates)
    for again in (lambda: certificates.begin(["x"], force=False), lambda: certificates.add_edge("edge")):
        with pytest.raises(Refusal, match="exists"):
            again()
    assert state(certificates) == before
    certificates.begin(["x"], force=True)
    after = state(certificates)
    assert all(after[name] != before[name] for name in before)


def test_each_edge_has_a_token_of_its_own_and_one_can_be_taken_back(certificates: CertificateFolder) -> None:
    with pytest.raises(Refusal, match="last token"):
        certificates.revoke("edge")
    certificates.add_edge("hall")
    own = {name: read_tokens(certificates.folder / f"{name}.token", name) for name in ("edge", "hall")}
    assert read_tokens(certificates.tokens, "tokens") == (*own["edge"], *own["hall"])
    certificates.revoke("edge")
    assert read_tokens(certificates.tokens, "tokens") == own["hall"]
    with pytest.raises(Refusal, match="no token of edge"):
        certificates.revoke("edge")


@pytest.mark.parametrize("name", ["cloud", "edge"])
def test_a_renewed_certificate_keeps_its_names_and_an_edge_its_token(
    certificates: CertificateFolder, name: str
) -> None:
    before, old = state(certificates), loaded(certificates, name)
    certificates.renew(name, [])
    after = state(certificates)
    assert {changed for changed in before if after[changed] != before[changed]} == {f"{name}.pem", f"{name}.key"}
    assert names(loaded(certificates, name)) == names(old)
    certificates.renew("cloud", ["other.example"])
    assert names(loaded(certificates, "cloud")) == ["other.example"]
    with pytest.raises(Refusal, match="nothing to renew"):
        certificates.renew("nobody", [])


def test_without_the_authoritys_key_it_says_what_to_do(certificates: CertificateFolder) -> None:
    certificates.authority_key.unlink()
    with pytest.raises(Refusal, match=r"ca\.key is missing.*FORCE=1"):
        certificates.add_edge("hall")


@pytest.mark.parametrize("name", ["", "cloud", "ca", "../x", "a b", "-x"])
def test_names_that_are_none(certificates: CertificateFolder, name: str) -> None:
    with pytest.raises(Refusal, match="no name for an edge"):
        certificates.add_edge(name)


def test_keys_and_tokens_are_for_their_owner_alone(certificates: CertificateFolder) -> None:
    private = [path for path in certificates.folder.iterdir() if path.suffix != ".pem"]
    assert len(private) == 4
    assert [path.stat().st_mode & 0o777 for path in (*private, certificates.authority_key)] == [0o600] * 5
    assert certificates.authority_key.parent.stat().st_mode & 0o777 == 0o700
