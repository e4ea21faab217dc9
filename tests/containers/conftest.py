"""Options and fixtures: where what takes long to build is kept, and where records go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.arm64_root import Arm64Root, Missing

REPOSITORY = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--cache` and `--records`."""
    parser.addoption("--cache", type=Path, default=REPOSITORY / "build/containers", help="Keeps what is built.")
    parser.addoption("--records", type=Path, default=None, help="Write records of what was tested into this folder.")


@pytest.fixture(scope="session", autouse=True)
def no_python_path() -> Iterator[None]:
    """What the tests start must find its own packages, not those of the checkout from which the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)
        yield


@pytest.fixture(scope="session")
def arm64(request: pytest.FixtureRequest) -> Arm64Root:
    """A Debian for arm64; several minutes when it is built."""
    root = Arm64Root(request.config.getoption("cache") / "arm64")
    try:
        root.build()
    except Missing as missing:
        pytest.fail(f"error: {missing}", pytrace=False)
    return root
