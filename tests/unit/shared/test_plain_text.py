import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.plain_text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat.png", "cat.png"),
        ("Straße 7/köttbullar 日本", "Straße 7/köttbullar 日本"),
        ("a\nright  b.png", r"a\nright  b.png"),
        ("\x1b[2K\rright", r"\x1b[2K\rright"),
        ("\x9b31m", r"\x9b31m"),
        ("evil\u202egnp.exe", r"evil\u202egnp.exe"),
        ("one\u2028two", r"one\u2028two"),
        ("\udcff.png", r"\udcff.png"),
    ],
)
def test_what_a_terminal_would_act_on_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_it_is_cut() -> None:
    assert plain("x" * 1000, 10) == "xxxxxxx..."
    assert plain("x" * 10, 10) == "x" * 10
    assert plain("x" * 1000, None) == "x" * 1000


@given(st.text(alphabet=st.characters()))
def test_it_is_one_printable_line_that_can_be_written(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    shown.encode()  # raises for half of a surrogate pair
    if text.isprintable() and len(text) <= 300:
        assert shown == text
