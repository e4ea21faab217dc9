"""What the pages of documentation name: commands with their flags, variables, files, places on other pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.prometheus import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy/README.md", *(ROOT / "docs").glob("*.md")])
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
BLOCK = re.compile(r"(?:^ {4,}\S.*\n?)+", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ASSIGNED = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """One simple command as a page has it."""

    page: Path
    words: tuple[str, ...]

    def flags(self) -> Iterator[str]:
        """Its flags, without their values."""
        for word in self.words:
            for flag in word.split("|"):  # as in `--execution rate|spiking`, `--a|--b`
                if re.match(r"--[a-z]", flag):
                    yield flag.partition("=")[0].rstrip(",.;:)")

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {' '.join(self.words)}"


def spans(page: Path) -> list[str]:
    """What stands between backticks."""
    return SPAN.findall(FENCE.sub("", page.read_text()))


def commands(page: Path) -> Iterator[Command]:
    """Every simple command in a page's blocks and backticks."""
    text = FENCE.sub("", page.read_text())
    blocks = "\n".join(BLOCK.findall(text)).replace("\\\n", " ")
    for line in [*(re.sub(r"\s#.*", "", line) for line in blocks.splitlines()), *SPAN.findall(text)]:
        for simple in re.split(r"&&|;|\s\|\s|\s>\s", line):
            words = _words(simple)
            while words and (ASSIGNED.match(words[0]) or words[0] in {"sudo", "time", "if", "then"}):
                words = words[1:]
            if words:
                yield Command(page, words)


def assigned(page: Path) -> Iterator[str]:
    """Variables that stand before a command, as in `DATASET=nmnist docker compose up`."""
    for line in [*"\n".join(BLOCK.findall(page.read_text())).splitlines(), *spans(page)]:
        for word in _words(line):
            found = re.match(r"([A-Z][A-Z0-9_]+)=", word)
            if found is None:
                break
            yield found[1]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Files that a page links to, and the place there (empty: none)."""
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, place = target.partition("#")
            yield (page.parent / path).resolve() if path else page, place


def places(page: Path) -> set[str]:
    """What can follow # in a link to a page: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError:  # half a quotation
        return tuple(line.split())
