"""`neucodex-bench`: runs the benchmarks of the checkout that this package lies in. A wheel does not contain them."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent


def main(checkout: Path = HERE) -> None:
    """Run the command line of `benchmarks/`.

    Args:
        checkout: the folder with `benchmarks/`.

    Raises:
        SystemExit: there are no benchmarks in it, or the command ended.
    """
    if not (checkout / "benchmarks" / "__main__.py").exists():
        sys.exit("error: the benchmarks are not in the wheel: run them in a checkout, with `python -m benchmarks`")
    sys.path.insert(0, str(checkout))
    import_module("benchmarks.__main__").main()
