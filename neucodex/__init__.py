"""The edge for Python programs: `from neucodex import Edge`; docs/api.md shows how.

Names are imported when they are first used, so that `import neucodex` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_client.api import Edge, EdgeSync, WindowVerdict
    from edge_client.inference.verdict import Step, Verdict
    from edge_client.link.security import LinkSecurity
    from shared import errors

__all__ = ["Edge", "EdgeSync", "LinkSecurity", "Step", "Verdict", "WindowVerdict", "errors"]

_MODULES = {
    "Edge": "edge_client.api",
    "EdgeSync": "edge_client.api",
    "LinkSecurity": "edge_client.link.security",
    "Step": "edge_client.inference.verdict",
    "Verdict": "edge_client.inference.verdict",
    "WindowVerdict": "edge_client.api",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("shared.errors")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
