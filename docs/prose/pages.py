"""Which pages are held to the style."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

PATTERNS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "deploy/README.md", "examples/*/README.md")

EXCLUDED: Mapping[str, str] = {
    "docs/reference/": "generated: its sentences are help texts, docstrings and comments",
    "docs/testbed-report.md": "generated from a record, by benchmarks/testbed/report/",
}
"""Beginnings of names, and why. CHANGELOG.md is not among the patterns: what is written there is history."""

NOT_YET: frozenset[str] = frozenset()
"""Pages that wait for their rewriting. One that is good enough must leave this list: the check says so."""


def pages(root: Path = ROOT) -> Iterator[Path]:
    """Every page that is held to the style, or will be."""
    for pattern in PATTERNS:
        for page in sorted(root.glob(pattern)):
            if not any(str(page.relative_to(root)).startswith(begin) for begin in EXCLUDED):
                yield page
