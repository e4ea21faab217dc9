from __future__ import annotations

from pathlib import Path

import click
import pytest

from docs.prose.check import check_message, check_page
from docs.prose.markdown import Block, blocks
from docs.prose.messages import error_messages, help_texts
from docs.prose.pages import NOT_YET, ROOT, pages
from docs.prose.style import MOST_WORDS


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("The weights are trained anew.", "neucodex.words"),
        ("It waits\nin vain for an answer.", "neucodex.words"),
        ("It is for whoever has a camera.", "neucodex.words"),
        ("The record has all of it.", "neucodex.of_it"),
        ("The accuracy, which is not yet what it should be, is printed.", "neucodex.words"),
        ("Beside it stands the record.", "neucodex.inversion"),
        ("word " * (MOST_WORDS + 1), "neucodex.sentence"),
    ],
)
def test_what_we_do_not_write_is_found(text: str, rule: str) -> None:
    assert rule in {finding.rule for finding in check_page(text)}


@pytest.mark.parametrize(
    "text",
    [
        "The weights are trained again. The record has all the times of it in seconds.",
        f"{'word ' * MOST_WORDS}. {'Word ' * MOST_WORDS}.",
        f"{'word ' * MOST_WORDS}: {'Word ' * MOST_WORDS}.",
        "    anew, in code\n",
        "`anew` and [a link](anew.md)",
        '"Straight quotes", 4 x 8 x 8 and ... are how pages are written.',
    ],
)
def test_what_is_well_is_left_alone(text: str) -> None:
    assert check_page(text) == []


def test_a_finding_names_the_line() -> None:
    page = (
        "# Title\n\nThe first line.\nThe second line, anew.\n\n- an item\n- anew\n\n| a | b |\n| - | - |\n"
        "| c | anew |\n"
    )
    assert [finding.line for finding in check_page(page)] == [4, 7, 11]


def test_blocks_are_paragraphs_items_and_cells() -> None:
    page = "# A `b`\n\nOne\ntwo [three](x.md).\n\n| h |\n| - |\n| ![alt](p.png) |\n"
    assert list(blocks(page)) == [Block(1, "A code"), Block(3, "One\ntwo three."), Block(6, "h"), Block(8, "alt")]


def test_help_texts_and_error_messages_are_read(tmp_path: Path) -> None:
    @click.group(epilog="The end.")
    def group() -> None:
        """A group."""

    @group.command()
    @click.option("--size", help="In pixels.")
    def inner(size: str) -> None:
        """A command."""

    assert list(help_texts("prog", group)) == [
        ("prog", "A group."), ("prog", "The end."),
        ("prog inner", "A command."), ("prog inner --size", "In pixels."),
    ]  # fmt: skip
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "module.py").write_text('def f(x):\n    raise ValueError(f"{x} is wrong: " "try anew")\n')
    assert list(error_messages(tmp_path)) == [("shared/module.py:2", "x is wrong: try anew")]
    assert [finding.rule for finding in check_message("try anew")] == ["neucodex.words"]


def test_every_page_is_looked_at() -> None:
    names = {str(page.relative_to(ROOT)) for page in pages()}
    assert {"README.md", "docs/edge.md", "docs/decisions/0001-neuron-recurrence.md"} <= names
    assert names >= NOT_YET
    assert not {name for name in names if name.startswith("docs/reference/")}
