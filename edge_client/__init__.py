"""The edge, as a command (`neucodex-edge`) and for programs: `from edge_client import Edge`; docs/api.md shows how.

Names are imported when they are first used, so that `--help` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_client.api import Edge, EdgeSync
    from edge_client.inference.verdict import Step, Verdict
    from edge_client.link.security import LinkSecurity

__all__ = ["Edge", "EdgeSync", "LinkSecurity", "Step", "Verdict"]

_HOMES = {
    "Edge": "api",
    "EdgeSync": "api",
    "LinkSecurity": "link.security",
    "Step": "inference.verdict",
    "Verdict": "inference.verdict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
