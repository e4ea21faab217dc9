"""The page of exit codes, from `shared/exit_codes.py` and the exceptions in `shared/errors.py`."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate.markdown import code, page, table
from shared.errors import NeucodexError
from shared.exit_codes import MEANINGS


def exit_codes_page() -> str:
    """What every exit code means, and which exceptions end a program with it."""
    raised: dict[int, list[str]] = {}
    for error in _exceptions(NeucodexError):
        raised.setdefault(error.exit_code, []).append(code(error.__name__))
    unknown = sorted(set(raised) - set(MEANINGS))
    if unknown:
        raise ValueError(f"exit codes {unknown} have no meaning: add them to shared/exit_codes.py")
    introduction = (
        "All programs use the same codes. The exceptions are those of `shared/errors.py`, which "
        "[programs](../api.md) catch."
    )
    rows = [(str(number), meaning, ", ".join(raised.get(number, []))) for number, meaning in MEANINGS.items()]
    return page("Exit codes", introduction, table(("code", "meaning", "exceptions"), rows))


def _exceptions(base: type[NeucodexError]) -> Iterator[type[NeucodexError]]:
    yield base
    for inner in base.__subclasses__():
        yield from _exceptions(inner)
