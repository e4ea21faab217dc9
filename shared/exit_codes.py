"""What the exit codes of all programs mean."""

from __future__ import annotations

from collections.abc import Mapping

INTERRUPTED = 130
"""Of a run that was ended by Ctrl-C, as shells have it."""

MEANINGS: Mapping[int, str] = {
    0: "all done",
    1: "some samples failed or could not be read",
    2: "wrong usage or configuration",
    3: "a bundle is missing, damaged or foreign",
    4: "an input cannot be read",
    5: "no cloud within the deadline, or the link was lost",
    6: "the cloud refused",
    7: "results cannot be written",
    8: "the cloud's engine failed for good",
    INTERRUPTED: "interrupted",
}


def epilog(*codes: int) -> str:
    """The end of a program's --help: what the codes that it uses mean."""
    return f"Exit codes: {'; '.join(f'{code} {MEANINGS[code]}' for code in codes)}."
