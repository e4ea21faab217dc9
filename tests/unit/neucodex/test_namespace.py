"""What `neucodex` hands on, what a wheel installs, and what `neucodex-bench` says without a checkout."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib
from setuptools import find_packages

import neucodex
from neucodex import bench

ROOT = Path(neucodex.__file__).parents[1]


def test_a_name_for_programs_is_the_one_that_an_editor_is_shown() -> None:
    source = ast.parse(Path(neucodex.__file__).read_text())
    shown = next(node for node in source.body if isinstance(node, ast.If)).body
    imports = {name.name: node.module for node in shown if isinstance(node, ast.ImportFrom) for name in node.names}
    assert set(imports) == set(neucodex.__all__) <= set(dir(neucodex))
    for name, module in imports.items():
        found = getattr(neucodex, name)
        home = importlib.import_module(f"{module}.{name}") if name == "errors" else getattr(
            importlib.import_module(str(module)), name)  # fmt: skip
        assert found is home
    with pytest.raises(AttributeError, match="Egde"):
        neucodex.Egde  # noqa: B018  the look-up is what is tested


def test_nothing_is_loaded_before_a_name_is_used() -> None:
    code = "import sys, neucodex; sys.exit(', '.join({'numpy', 'grpc', 'edge_client'} & set(sys.modules)) or None)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_wheel_installs_neither_benchmarks_nor_tests(tmp_path: Path) -> None:
    found = find_packages(str(ROOT), include=tomllib.loads((ROOT / "pyproject.toml").read_text())
                          ["tool"]["setuptools"]["packages"]["find"]["include"])  # fmt: skip
    rooms = {package.partition(".")[0] for package in found}
    # In a copy: setuptools takes what an earlier build left in build/ into the next wheel.
    for folder in (*rooms, "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "records"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tmp_path)
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", "dist"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *flags, "."], check=True, cwd=tmp_path)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    installed = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert installed == {"neucodex", "protos", "shared", "edge_client", "cloud_server", "training"}
    assert {f"{room}/py.typed" for room in ("neucodex", "edge_client", "shared")} <= set(names)


def test_the_command_runs_the_checkouts_benchmarks() -> None:
    code = "from neucodex.bench import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "testbed" in done.stdout


def test_without_a_checkout_the_command_says_where_the_benchmarks_are(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"not in the wheel.*python -m benchmarks"):
        bench.main(tmp_path)
