"""What the images install: pinned with hashes, for both architectures, and not stale."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.prometheus import ROOT

FOLDER = ROOT / "deploy" / "requirements"
CONSTRAINTS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.strip().partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
}
MACHINES = ({"platform_machine": "x86_64"}, {"platform_machine": "aarch64"})


def extras(side: str) -> str:
    """The extras that the image has where nobody asks for others."""
    (found,) = re.findall(r'^ARG EXTRA="(.+)"$', (ROOT / f"deploy/{side}.Dockerfile").read_text(), re.MULTILINE)
    return str(found)


def pinned(side: str) -> dict[str, Requirement]:
    text = (FOLDER / f"{extras(side).replace(' ', '-')}.txt").read_text().replace("\\\n", "")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes)
        found[canonicalize_name(Requirement(requirement).name)] = Requirement(requirement)
    return found


@pytest.mark.parametrize("side", ["cloud", "edge"])
def test_all_that_is_asked_for_is_pinned_to_the_version_that_was_tested(side: str) -> None:
    done = subprocess.run(
        [sys.executable, "deploy/requirements.py", "pyproject.toml", *extras(side).split()],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    pins = pinned(side)
    for asked in map(Requirement, done.stdout.splitlines()):
        pin = pins[canonicalize_name(asked.name)]
        (version,) = pin.specifier
        assert version.operator == "=="
        assert asked.specifier.contains(version.version), f"{pin} is stale: make requirements"
        for machine in MACHINES:
            wanted = asked.marker is None or asked.marker.evaluate({**machine, "sys_platform": "linux"})
            there = pin.marker is None or pin.marker.evaluate({**machine, "sys_platform": "linux"})
            assert there or not wanted, f"{pin} is left out on {machine}"
    stale = {
        name: (str(pin.specifier), CONSTRAINTS[name])
        for name, pin in pins.items()
        if name in CONSTRAINTS and str(pin.specifier) != f"=={CONSTRAINTS[name]}"
    }
    assert not stale, "constraints.txt says otherwise: make requirements"
    assert set(pins) - set(CONSTRAINTS) == set(), "name these in constraints.txt too"


def test_there_is_no_file_beside_and_none_names_a_place() -> None:
    names = {f"{extras(side).replace(' ', '-')}.txt" for side in ("cloud", "edge")}
    assert {path.name for path in FOLDER.iterdir()} == names
    for path in FOLDER.iterdir():
        assert not re.search(r"://|--(extra-)?index|--find-links|/work|/opt", path.read_text())


def test_the_makefile_pins_the_extras_of_the_dockerfiles() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for side in ("cloud", "edge"):
        assert f"{side.upper()}_IMAGE = {extras(side)}\n" in makefile
