from pathlib import Path

import pytest
import trustme

from shared.errors import ConfigError
from shared.security import check_authority, check_pair, is_loopback, read_tokens
from tests.support.certificates import authority_file, issue

TOKEN = "a-token-of-twenty-or-so"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_tokens_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# the old one\n{TOKEN}\n\n  {TOKEN}-2  \n")
    assert read_tokens(path, "--token-file") == (TOKEN, f"{TOKEN}-2")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no token"), ("# none\n", "no token"), ("short\n", "16 or more"), (f"{TOKEN} x\n", "spaces")],
)
def test_tokens_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_tokens(path, "--token-file")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--token-file .*nowhere"):
        read_tokens(tmp_path / "nowhere", "--token-file")


def test_a_certificate_and_the_key_of_another(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path, "one", "localhost")
    _, other = issue(authority, tmp_path, "other", "localhost")
    check_pair(certificate, key, "--tls-cert, --tls-key")
    with pytest.raises(ConfigError, match="no certificate and its key"):
        check_pair(certificate, other, "--tls-cert, --tls-key")
    with pytest.raises(ConfigError, match="cannot be read"):
        check_pair(certificate, tmp_path / "nowhere", "--tls-cert, --tls-key")


def test_an_authority_must_be_one(tmp_path: Path) -> None:
    path = authority_file(trustme.CA(), tmp_path / "ca.pem")
    check_authority(path, "--tls-ca")
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate in it"):
        check_authority(path, "--tls-ca")
