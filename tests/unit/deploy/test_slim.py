"""What an image takes out of its packages: there today, and nothing that a tail, a codec or a picture needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.support.prometheus import ROOT

PACKAGES = Path(np.__file__).parents[1]
LINKED = ("numpy", "numpy.libs", "onnxruntime", "zstandard")
"""Of what UNUSED names, the packages that every image has."""

USE = """
import sys
import numpy, onnxruntime, zstandard
for package in (numpy, onnxruntime, zstandard):
    assert package.__file__.startswith(sys.argv[1]), package.__file__
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
print([tuple(given.shape) for given in session.get_inputs()])
assert zstandard.decompress(zstandard.compress(b"frame" * 9)) == b"frame" * 9
assert zstandard.backend == "cext"
"""


def test_packages_work_without_what_is_taken_out(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3/site-packages"
    packages.mkdir(parents=True)
    for name in LINKED:
        if (PACKAGES / name).exists():  # numpy.libs is Linux's
            shutil.copytree(PACKAGES / name, packages / name, copy_function=os.symlink)
    slim = [sys.executable, "deploy/slim.py", str(tmp_path)]
    done = subprocess.run(slim, cwd=ROOT, check=True, capture_output=True, text=True)
    # Links are small: what is gone counts here, not the bytes.
    assert "taken out" in done.stdout
    gone = ("onnxruntime/capi/libonnxruntime.so*", "zstandard/_cffi*", "numpy/_core/tests", "**/*.pyi")
    for pattern in gone:
        assert any(PACKAGES.glob(pattern)) or "*." in pattern, f"{pattern} is not there any more: see deploy/slim.py"
        assert not any(packages.glob(pattern)), pattern
    graph = ROOT / "models/resnet18-digits/head-rate.onnx"
    used = subprocess.run(
        [sys.executable, "-c", USE, packages, graph],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(packages)},
    )  # fmt: skip
    assert used.returncode == 0, used.stderr


def test_a_folder_that_is_no_environment_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "deploy/slim.py", tmp_path], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "is no environment" in done.stderr
