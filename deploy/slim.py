"""Takes out of an image's environment what packages bring and nothing of ours ever runs; says how much that was.

`python slim.py ENVIRONMENT`, in the stage that builds. What is left works as before (tests/unit/deploy/test_slim.py).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

UNUSED = {
    "onnxruntime/capi/libonnxruntime.so*": "the library for C programs: Python's module holds all of it a second time",
    "onnxruntime/transformers": "tools that change models",
    "onnxruntime/quantization": "a tool that makes models",
    "onnxruntime/tools": "tools that look at models",
    "zstandard/_cffi*": "the form for PyPy; CPython takes backend_c",
    "cv2/data": "OpenCV's trained cascades",
    "**/tests": "packages' own tests",
    "**/*.pyi": "types, for type checkers",
}
"""Patterns under site-packages, each with the reason why nobody misses it."""


def slim(packages: Path) -> int:
    """Remove what UNUSED names from a folder of packages; returns the bytes that its files had."""
    freed = 0
    for pattern in UNUSED:
        for path in sorted(packages.glob(pattern)):
            files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            freed += sum(file.lstat().st_size for file in files)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return freed


def main() -> None:
    """The argument: the environment, such as /opt/neucodex."""
    found = sorted(Path(sys.argv[1]).glob("lib/python*/site-packages"))
    if not found:
        sys.exit(f"error: {sys.argv[1]} is no environment: it has no lib/python*/site-packages")
    freed = sum(slim(packages) for packages in found)
    print(f"{freed / 1e6:.0f} MB of packages taken out that nothing here runs")


if __name__ == "__main__":
    main()
