"""`python -m docs.prose [PAGE]...`: check all prose, help texts and error messages too, or the pages named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from docs.generate.pages import PROGRAMS
from docs.prose.check import Finding, check_message, check_page
from docs.prose.messages import error_messages, help_texts
from docs.prose.pages import NOT_YET, ROOT, pages


def main(named: list[str]) -> int:
    """Print what is wrong, one line each, and return the exit code: 1 if anything is."""
    found = list(_in_pages([Path(page) for page in named])) if named else list(_everywhere())
    print("\n".join(found), file=sys.stderr)
    return int(bool(found))


def _everywhere() -> Iterator[str]:
    yield from _in_pages([page for page in pages() if str(page.relative_to(ROOT)) not in NOT_YET])
    for name in sorted(NOT_YET):
        if not check_page((ROOT / name).read_text()):
            yield f"{name}: nothing is wrong any more: take it out of NOT_YET in docs/prose/pages.py"
    said = [text for program, command in PROGRAMS.items() for text in help_texts(program, command)]
    for where, text in [*said, *error_messages(ROOT)]:
        yield from (f"{where}: {_reads(finding)}" for finding in check_message(text))


def _in_pages(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        yield from (f"{name}:{finding.line}: {_reads(finding)}" for finding in check_page(path.read_text()))


def _reads(finding: Finding) -> str:
    return f"{finding.message} ({finding.rule})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
