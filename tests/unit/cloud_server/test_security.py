import logging
from pathlib import Path

import pytest
import trustme

from cloud_server.security import Certificates, ServerSecurity, TokenGate
from shared.errors import ConfigError
from tests.support.certificates import issue

ONE, TWO = "the-first-of-two-tokens", "the-second-of-two-tokens"


def test_nothing_is_open_by_accident() -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        ServerSecurity()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": Path("a")}, "belong together"),
        ({"key": Path("a"), "insecure": True}, "belong together"),
        ({"certificate": Path("a"), "key": Path("b"), "insecure": True}, "contradict"),
        ({"client_ca": Path("a"), "insecure": True}, "needs TLS"),
    ],
)
def test_flags_that_do_not_go_together(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ServerSecurity(**settings)  # type: ignore[arg-type]


def test_in_clear_on_loopback_alone() -> None:
    ServerSecurity(insecure=True).check(("127.0.0.1", 50051))
    with pytest.raises(ConfigError, match="--insecure-anywhere"):
        ServerSecurity(insecure=True).check(("0.0.0.0", 50051))
    ServerSecurity(insecure=True, anywhere=True).check(("0.0.0.0", 50051))


def test_a_token_lets_in_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{ONE}\n# the hall\n{TWO}\n")
    gate = TokenGate(path)
    assert gate.name_of([("user-agent", "x"), ("authorization", f"Bearer {TWO}")]) == "the hall"
    assert gate.name_of([("authorization", f"Bearer {ONE}")]) == "1", "a token without a name has a number"
    for metadata in (
        None,
        [],
        [("authorization", TWO)],
        [("authorization", f"Bearer {TWO}x")],
        [("authorization", "Bearer ")],
        [("authorization", f"Bearer {ONE}"), ("authorization", f"Bearer {TWO}")],
        [("authorization", "Bearer \udcff")],
    ):
        assert gate.name_of(metadata) is None


def test_tokens_are_renewed_in_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{ONE}\n")
    gate = TokenGate(path)
    new = tmp_path / "new"
    new.write_text(f"{TWO}\n")
    new.replace(path)
    assert gate.name_of([("authorization", f"Bearer {TWO}")])
    assert not gate.name_of([("authorization", f"Bearer {ONE}")])
    new.write_text("short\n")
    new.replace(path)
    with caplog.at_level(logging.WARNING):
        assert gate.name_of([("authorization", f"Bearer {TWO}")])
    assert "stay in use" in caplog.text
    path.unlink()
    assert gate.name_of([("authorization", f"Bearer {TWO}")])


def test_a_half_renewed_certificate_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path, "cloud", "localhost")
    certificates = Certificates(ServerSecurity(certificate, key))
    certificates.credentials()
    assert certificates.read_if_changed() is None
    other, its_key = issue(authority, tmp_path / "new", "cloud", "localhost")
    other.replace(certificate)
    with caplog.at_level(logging.WARNING):
        assert certificates.read_if_changed() is None
    assert "old certificate stays" in caplog.text
    its_key.replace(key)
    assert certificates.read_if_changed() is not None
    assert certificates.read_if_changed() is None
