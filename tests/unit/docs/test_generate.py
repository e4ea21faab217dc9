from __future__ import annotations

from dataclasses import dataclass

import click
import pytest

from docs.generate.__main__ import FOLDER
from docs.generate.flags import flags_page
from docs.generate.manifest import fields_of
from docs.generate.markdown import table
from docs.generate.pages import PAGES
from docs.generate.wire import read_comments
from shared.command_line import option


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), f"docs/reference/{name} is stale: run `make reference`"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_a_flag_has_its_variable_default_and_help() -> None:
    @click.command(epilog="Exit codes: 0 all done.")
    @option("--size", type=int, default=3, metavar="N", help="How large | how small.")
    @option("--name", multiple=True, required=True, help="Of whom.")
    @option("--loud", is_flag=True, help="Shout.")
    def command() -> None:
        """Do it."""

    written = flags_page("prog", command)
    assert "    prog [OPTIONS]\n\nDo it." in written
    assert r"| `--size N` | `3` | `NEUCODEX_SIZE` | How large \| how small. |" in written
    assert "| `--name TEXT` | required | `NEUCODEX_NAME` | Of whom. May be given more than once. |" in written
    assert "| `--loud` |  | `NEUCODEX_LOUD` | Shout. |" in written
    assert written.endswith("Exit codes: 0 all done.\n")


def test_a_field_that_is_not_described_is_a_mistake() -> None:
    @dataclass
    class Described:
        """What it is.

        Attributes:
            size: in pixels.
        """

        size: int
        other: int = 1

    with pytest.raises(ValueError, match=r"Described\.other is not described"):
        fields_of(Described)


def test_comments_of_a_proto_go_to_what_stands_below_them() -> None:
    text = """
    // Of the file.

    // Of the
    // message.
    message Frame {
      oneof kind {
        // Of a.
        A a = 1;
      }
      repeated uint32 b = 2;
      enum Code {
        // Of the value.
        ZERO = 0;
      }
    }
    """
    assert read_comments(text) == {
        "Frame": "Of the message.",
        "Frame.kind": "",
        "Frame.a": "Of a.",
        "Frame.b": "",
        "Frame.Code": "",
        "Frame.Code.ZERO": "Of the value.",
    }


def test_a_cell_may_hold_anything() -> None:
    assert table(["a"], [["x | <y>\n z"]]).splitlines()[-1] == "| x \\| &lt;y> z |"
