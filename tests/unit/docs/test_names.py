"""The pages name no flag, variable, target, file or heading that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from benchmarks.__main__ import main_group as bench
from benchmarks.demo import main as demo
from cloud_server.__main__ import command as cloud
from edge_client.__main__ import cli as edge
from shared.health_check import command as health
from shared.known_variables import KNOWN, PREFIX
from tests.support.prometheus import ROOT
from tests.unit.docs.pages import PAGES, assigned, commands, links, places, spans
from training.__main__ import main_group as train

OURS: dict[str, click.Command] = {
    "neucodex-edge": edge,
    "neucodex-cloud": cloud,
    "neucodex-train": train,
    "neucodex-bench": bench,
    "benchmarks.demo": demo,
}
FOREIGN = {"--help", "--version", "--build-arg", "--system-site-packages"}
"""Click's own, and flags of others' programs that a page names without the program."""

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z_]+) *\??=", MAKEFILE, re.MULTILINE)) | set(re.findall(r"\$\(([A-Z]+)\)", MAKEFILE))
FOLDERS = (ROOT, ROOT / "docs", ROOT / "deploy", ROOT / "edge_client", ROOT / "cloud_server", ROOT / "shared")
"""Where a page may mean a file to lie."""

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def options(command: click.Command) -> set[str]:
    """Its flags, those that say no to something too, and those of its commands."""
    own = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(options(inner) for inner in getattr(command, "commands", {}).values()))


ALL = set().union(*(options(command) for command in (*OURS.values(), health))) | FOREIGN


def called(words: tuple[str, ...]) -> click.Command | None:
    """Our command that a line runs; None: somebody else's."""
    name = Path(words[0]).name
    if name.startswith("python") and words[1:2] == ("-m",):
        name, words = words[2], words[2:]
        name = {"cloud_server": "neucodex-cloud", "edge_client": "neucodex-edge"}.get(name, name)
        name = {"training": "neucodex-train", "benchmarks": "neucodex-bench"}.get(name, name)
    command = OURS.get(name)
    inner = getattr(command, "commands", {})
    return inner.get(words[1], command) if len(words) > 1 and command else command


@by_page
def test_every_flag_is_one_of_its_command(page: Path) -> None:
    for line in commands(page):
        command = called(line.words)
        known = options(command) | FOREIGN if command else ALL if line.words[0].startswith("--") else None
        if known is not None:
            assert set(line.flags()) <= known, f"{line}: {set(line.flags()) - known}"


def test_flags_are_found_and_a_wrong_one_would_be() -> None:
    found = [line for page in PAGES for line in commands(page) if called(line.words) and any(line.flags())]
    assert len(found) > 60
    assert "--on-lost" not in ALL
    assert "--on-loss" in options(edge.commands["classify"])
    assert "--on-loss" not in options(cloud)


@by_page
def test_every_make_target_and_its_variables_are_there(page: Path) -> None:
    for line in commands(page):
        if line.words[0] == "make" and len(line.words) > 1:
            targets = {word for word in line.words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
            named = {word.partition("=")[0] for word in line.words[1:] if "=" in word}
            assert targets <= TARGETS, line
            assert named <= VARIABLES, line


def deployed() -> str:
    """All that reads variables of a person who deploys."""
    files = [*ROOT.glob("docker-compose*.yml"), *(ROOT / "deploy").rglob("*.Dockerfile"), ROOT / "Makefile"]
    return "\n".join(path.read_text() for path in files)


def test_every_variable_on_the_page_of_operations_is_read() -> None:
    page = ROOT / "docs/operations.md"
    read = deployed()
    # A table of settings has them as names; elsewhere an assignment tells them apart.
    rows = re.findall(r"^\| ((?:`[A-Z][A-Z0-9_]+`(?:, )?)+) \|", page.read_text(), re.MULTILINE)
    named = set(re.findall(r"[A-Z][A-Z0-9_]+", " ".join(rows))) | set(assigned(page))
    assert len(named) > 15
    assert {name for name in named if not name.startswith(PREFIX) and not re.search(rf"\b{name}\b", read)} == set()


@by_page
def test_every_variable_of_ours_is_read_by_a_flag(page: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
    assert named <= KNOWN


@by_page
def test_every_file_is_there(page: Path) -> None:
    for name in files(page):
        assert any(any(folder.glob(name)) for folder in FOLDERS), f"{page.name}: {name}"


def files(page: Path) -> Iterator[str]:
    """Paths that stand in backticks: of the checkout's code, configuration and pages."""
    for span in spans(page):
        if re.fullmatch(r"[\w*-]+(/[\w.*-]+)*/[\w.*-]+\.(py|md|ya?ml|toml)", span):
            yield span


@by_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for path, place in links(page):
        assert path.exists(), f"{page.name}: {path}"
        assert not place or place in places(path), f"{page.name}: {path.name}#{place}"
