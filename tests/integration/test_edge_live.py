"""`--live` on a real terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.edges import rename_classes, run_edge
from tests.support.processes import DEADLINE, cloud_process


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), tuple("0123456789"))


def read_all(terminal: int) -> str:
    """What a process writes to its terminal until it ends."""
    said = b""
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            break
        if not part:
            break
        said += part
    return said.decode()


def test_on_a_terminal_and_without_one(bundle: Bundle, tmp_path: Path) -> None:
    with cloud_process(tmp_path, [bundle.path]) as cloud:
        flags = [
            "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--limit", "12", "--insecure",
        ]  # fmt: skip
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "edge_client", "classify", *flags, "--live"],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40", "PYTHONIOENCODING": "utf-8"},
        ) as edge:
            os.close(theirs)
            said = read_all(ours)
            os.close(ours)
            assert edge.wait(DEADLINE) == 0, said
        plain = run_edge(*flags, "--live", "--json")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert "link: connected" in text
    assert re.search(r"sample +class +t=1 +t=2 +t=3 +t=4 +bytes +ms", text)
    assert re.search(r"digits/test/11 +\d +\S +\d+%.* \d+ +[\d.]+\r?\n", text)
    assert "12 of 12 samples" in text
    exits = re.findall(r"(mean\s+)?exit\s+t=", text)
    assert exits, "the last line is cut"
    # No lines for samples, the summary at the end.
    assert all(exits)
    assert text.index("12 of 12 samples") < text.index("Summary: ")
    assert plain.code == 0
    assert "--live needs a terminal" in plain.err
    assert len(plain.lines) == 12
