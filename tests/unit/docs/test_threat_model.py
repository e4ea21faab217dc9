"""The threat model names a test for each attack: it is there, and the suite runs it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
OF_POINTS = (
    *("test_fairness", "test_link_faults", "test_before_authentication", "test_edge_ends"),
    *("test_links_as_they_are", "test_certificates", "test_random_faults"),
)


def test_each_test_that_is_named_exists() -> None:
    named = NAMED.findall((ROOT / "docs/security.md").read_text())
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text())
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in tests, f"{file} has no {name}"
    assert {Path(file).stem for file, _ in named} >= set(OF_POINTS), "each kind of attack has one"
