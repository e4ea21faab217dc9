"""Text that came from outside, made fit for a terminal and a log: names of files and classes, what a peer said."""

from __future__ import annotations

LIMIT = 300
"""Characters of a name or of a sentence."""


def plain(text: object, limit: int | None = LIMIT) -> str:
    """One line without control characters, line ends and marks that turn the reading direction.

    They are written as Python does, `\\n` or `\\x1b`: nothing from outside can end our line and begin another.

    Args:
        text: as `str` makes it.
        limit: characters of `text` that are kept, the rest is `...`; None keeps all.
    """
    whole = str(text)
    kept = whole if limit is None or len(whole) <= limit else whole[: limit - 3] + "..."
    if kept.isprintable():
        return kept
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in kept
    )
