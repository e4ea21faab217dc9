"""Names the commit that wrote a bundle or a benchmark's record."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str | None:
    """The commit of the checkout, with "+changes" where files differ from it; None outside a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head, changes = (
            subprocess.run(  # noqa: S603  fixed arguments
                ["git", "-C", str(here), *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+changes" if changes else head
