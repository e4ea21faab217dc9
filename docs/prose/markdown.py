"""The prose of a Markdown page, block by block: without code, links' targets, HTML and the marks of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

CODE = "code"
"""What stands for a piece of code in a sentence: one word that no check minds."""


@dataclass(frozen=True)
class Block:
    """A paragraph, a heading, an item of a list or a cell of a table.

    Attributes:
        line: of the page on which it begins, from 1.
        text: its words; it has a line break where the page has one.
    """

    line: int
    text: str


def blocks(page: str) -> Iterator[Block]:
    """Every block of a page, in order."""
    line = 1
    for token in MarkdownIt("commonmark").enable("table").parse(page):
        if token.map is not None:
            line = token.map[0] + 1
        if token.type == "inline":
            yield Block(line, "".join(_words(token.children or [])))


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "text":
            yield token.content
        elif token.type == "code_inline":
            yield CODE
        elif token.type in ("softbreak", "hardbreak"):
            yield "\n"
        elif token.type == "image":
            yield from _words(token.children or [])
