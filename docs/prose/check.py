"""Runs proselint, with this project's style, over pieces of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proselint.checks import __register__ as proselint_checks
from proselint.config import DEFAULT
from proselint.registry.checks import Check

from docs.prose.markdown import Block, blocks
from docs.prose.style import NOT_OURS, OUR_STYLE, OUR_WORDS

ON_BY_DEFAULT = frozenset(name for name, on in DEFAULT["checks"].items() if on)
GENERAL = tuple(
    check
    for check in proselint_checks
    if check.path_segments[0] in ON_BY_DEFAULT and not NOT_OURS.intersection(check.path_segments)
)
OF_PAGES = (*OUR_STYLE, *GENERAL)
OF_MESSAGES = (*OUR_WORDS, *GENERAL)


@dataclass(frozen=True)
class Finding:
    """What is wrong, and where.

    Attributes:
        line: of the page, from 1; of a message, of its text.
        rule: the check's name.
        message: what to do, for people.
    """

    line: int
    rule: str
    message: str


def check_page(page: str) -> list[Finding]:
    """What is wrong with the prose of a Markdown page, from top to bottom."""
    return sorted(_check(list(blocks(page)), OF_PAGES), key=lambda finding: finding.line)


def check_message(text: str) -> list[Finding]:
    """What is wrong with a help text or an error message."""
    return list(_check([Block(1, text)], OF_MESSAGES))


def _check(texts: list[Block], checks: Iterable[Check]) -> Iterator[Finding]:
    for check in checks:
        for block in texts:
            for result in check.check_with_flags(block.text.replace("\n", " ")):
                line = block.line + block.text.count("\n", 0, result.span[0])
                yield Finding(line, result.check_path, result.message)
