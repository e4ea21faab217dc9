"""No module imports itself over others, in all packages: imports inside functions and for type checking count too."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("protos", "shared", "edge_client", "cloud_server", "training", "benchmarks")


def find_circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first again at the end; empty if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_import_circle_over_all_packages() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert "cloud_server.server" in imports["cloud_server.__main__"], "imports inside functions are seen"
    assert not (circle := find_circle(imports)), " -> ".join(circle)


@pytest.mark.parametrize(
    ("imports", "circle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, set()),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, {"a", "b", "c"}),
    ],
)
def test_a_circle_is_found(imports: dict[str, set[str]], circle: set[str]) -> None:
    assert set(find_circle(imports)) == circle
