"""`python -m docs.generate`: write every page of `docs/reference/`."""

from __future__ import annotations

from pathlib import Path

from docs.generate.pages import PAGES

FOLDER = Path(__file__).parents[1] / "reference"


def main() -> None:
    """Write the pages; those that are there are replaced."""
    FOLDER.mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write())


if __name__ == "__main__":
    main()
