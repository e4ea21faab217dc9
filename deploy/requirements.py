"""Prints what pip must install for one side: the dependencies of pyproject.toml and of the extras named.

An image installs them before it gets the code, so that a change of the code does not install anything again.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]


def main() -> None:
    """Arguments: pyproject.toml, then names of extras."""
    path, *extras = sys.argv[1:]
    project = tomllib.loads(Path(path).read_text())["project"]
    known = project["optional-dependencies"]
    unknown = [extra for extra in extras if extra not in known]
    if unknown:
        sys.exit(f"error: {path} has no extra {unknown[0]}; there are {', '.join(known)}")
    print("\n".join(project["dependencies"] + [line for extra in extras for line in known[extra]]))


if __name__ == "__main__":
    main()
