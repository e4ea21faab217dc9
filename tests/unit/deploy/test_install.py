"""What texts tell people to install: extras that there are, from a checkout, for the package is not published."""

from __future__ import annotations

import re

import tomllib

from tests.support.prometheus import ROOT

EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
CODE = [path for room in ("edge_client", "cloud_server", "training", "shared") for path in (ROOT / room).rglob("*.py")]
TEXTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *CODE])
TOLD = re.compile(r"(?:pip install|or) '(\S+\[\S+\])'")


def test_what_people_are_told_to_install_is_an_extra_of_a_checkout() -> None:
    told = [(path, what) for path in TEXTS for what in TOLD.findall(path.read_text())]
    assert len(told) > 10
    for path, what in told:
        extras = re.fullmatch(r"\.\[([a-z,-]+)\]", what)
        assert extras is not None, f"{path}: {what}"
        assert set(extras[1].split(",")) <= EXTRAS, f"{path}: {what}"
