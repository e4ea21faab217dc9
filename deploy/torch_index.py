"""Prints the flags with which pip finds a PyTorch that is not several GB larger than it need be. `make setup` uses it.

On Linux the usual package index brings PyTorch with CUDA's libraries, so PyTorch's own index of CPU wheels is asked
first. Where that cannot be reached, the configured index will do if what it has needs no CUDA either. `TORCH_INDEX`
names another index, `CUDA=1` says that CUDA is wanted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

CPU_INDEX = "https://download.pytorch.org/whl/cpu"

IMPATIENT = ("--retries", "0", "--timeout", "10")
"""An index that cannot be reached is no reason to wait."""

CUDA_ONLY = """\
error: this package index would bring PyTorch with several GB of CUDA libraries, and {index}
cannot be reached. Name an index with CPU wheels (TORCH_INDEX=...), or say that CUDA is what you want (CUDA=1)."""


def torch_flags(requirement: str, variables: Mapping[str, str], platform: str = sys.platform) -> list[str]:
    """pip's flags for the index to install PyTorch from; none for the one that pip is configured with.

    Args:
        requirement: such as `torch==2.13.0`.
        variables: the environment: TORCH_INDEX, CUDA, and TORCH_CPU_INDEX for a mirror of PyTorch's own index.
        platform: as `sys.platform` has it.

    Raises:
        SystemExit: the only PyTorch in reach brings CUDA, and nobody asked for it.
    """
    if index := variables.get("TORCH_INDEX"):
        return ["--index-url", index]
    if variables.get("CUDA") or platform != "linux" or _resolve(requirement, "--no-index") == []:
        return []
    index = variables.get("TORCH_CPU_INDEX") or CPU_INDEX
    with tempfile.TemporaryDirectory() as nothing:
        # Not what pip is set up with beside its index: it would hide that this one cannot be reached.
        alone = {**variables, "PIP_EXTRA_INDEX_URL": index, "PIP_FIND_LINKS": nothing}
        if _needs_no_cuda(_resolve(requirement, *IMPATIENT, "--index-url", index, variables=alone)):
            return ["--index-url", index]
    if _needs_no_cuda(_resolve(requirement)):
        return []
    raise SystemExit(CUDA_ONLY.format(index=index))


def _needs_no_cuda(found: list[str] | None) -> bool:
    return found is not None and not any(name.startswith("nvidia-") for name in found)


def _resolve(requirement: str, *flags: str, variables: Mapping[str, str] | None = None) -> list[str] | None:
    """The names of all packages that pip would install; None where it finds no way. `variables` None: ours."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"]
    done = subprocess.run(  # noqa: S603  pip
        [*pip, *flags, requirement], env=variables, check=False, capture_output=True, text=True
    )
    if done.returncode:
        return None
    return [package["metadata"]["name"].lower().replace("_", "-") for package in json.loads(done.stdout)["install"]]


if __name__ == "__main__":
    print(" ".join(torch_flags(sys.argv[1], os.environ)))
