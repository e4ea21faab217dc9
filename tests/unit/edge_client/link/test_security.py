from pathlib import Path

import pytest

from edge_client.link.security import LinkSecurity
from shared.errors import ConfigError

TOKEN = "a-token-of-twenty-or-so"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"certificate": Path("a")}, "belong together"),
        ({"ca": Path("a"), "insecure": True}, "contradict"),
        ({"name": "x", "insecure": True}, "contradict"),
    ],
)
def test_flags_that_do_not_go_together(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        LinkSecurity(**settings)  # type: ignore[arg-type]


def test_in_clear_to_this_machine_alone() -> None:
    clouds = [("127.0.0.1", 1), ("cloud.example", 2)]
    with pytest.raises(ConfigError, match=r"cloud\.example:2"):
        LinkSecurity(insecure=True).check(clouds)
    LinkSecurity(insecure=True).check(clouds[:1])
    LinkSecurity(insecure=True, anywhere=True).check(clouds)
    LinkSecurity().check(clouds)


def test_the_first_token_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{TOKEN}\n{TOKEN}-2\n")
    assert LinkSecurity(token_file=path).metadata() == (("authorization", f"Bearer {TOKEN}"),)
    assert LinkSecurity().metadata() == ()


def test_files_are_looked_at_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--tls-ca .*nowhere"):
        LinkSecurity(ca=tmp_path / "nowhere").check([("127.0.0.1", 1)])
