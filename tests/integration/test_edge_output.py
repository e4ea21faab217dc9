"""Where an edge's results go, and what reaches a terminal: real processes against a cloud that says what it likes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.processes import start
from shared.bundle import Bundle
from shared.bundle_writer import write_parts
from tests.support.edges import ROOT, EdgeRun
from tests.support.processes import DEADLINE
from tests.support.scripted_cloud import answering

FORGED = "no\nright  forged.png  label 3\x1b[2K\r\u202e" + "x" * 5000


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(Path(shutil.copytree(ROOT / "models/resnet18-digits", tmp_path / "bundle")))


DIGITS = ("--dataset", "digits", "--limit", "3")


async def run(
    bundle: Bundle, cloud: str, *flags: str, of: Sequence[str] = DIGITS, redirect: str = "", **variables: str
) -> EdgeRun:
    """The edge over these samples; `redirect` is the shell's."""
    command = ["edge_client", "classify", "--bundle", str(bundle.path), "--cloud", cloud, "--insecure"]
    command += [*of, *flags]

    def to_the_end() -> EdgeRun:
        process = start(
            command,
            prefix=["sh", "-c", f'exec "$@" {redirect}', "sh"],
            variables={"OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        out, err = process.communicate(timeout=DEADLINE)
        return EdgeRun(process.returncode, out, err)

    return await asyncio.to_thread(to_the_end)


def assert_one_error(ran: EdgeRun, *parts: str) -> None:
    assert ran.code == 7, ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert ran.err.endswith(errors[0] + "\n"), "it is the last word"
    assert all(part in errors[0] for part in parts), errors
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err


@pytest.mark.parametrize("json", [["--json"], []])
@pytest.mark.parametrize(("redirect", "said"), [(">/dev/full", "No space left"), (">&-", "standard output is closed")])
async def test_results_that_cannot_be_written_end_the_run(
    bundle: Bundle, json: list[str], redirect: str, said: str
) -> None:
    async with answering() as address:
        assert_one_error(await run(bundle, address, *json, redirect=redirect), said)


async def test_a_reader_that_has_gone_ends_the_run(bundle: Bundle) -> None:
    async with answering() as address:
        read, write = os.pipe()
        os.close(read)
        try:
            ran = await run(bundle, address, "--json", redirect=f">/proc/{os.getpid()}/fd/{write}")
        finally:
            os.close(write)
        assert_one_error(ran, "Broken pipe")


async def test_a_summary_file_that_cannot_be_written(bundle: Bundle) -> None:
    async with answering() as address:
        ran = await run(bundle, address, "--json", "--summary-file", "/dev/full")
        assert len(ran.lines) == 3
        assert_one_error(ran, "--summary-file /dev/full", "No space left")


async def test_a_closed_or_full_standard_error_loses_no_results(bundle: Bundle) -> None:
    async with answering() as address:
        for redirect in ("2>&-", "2>/dev/full"):
            ran = await run(bundle, address, "--json", redirect=redirect)
            assert (ran.code, len(ran.lines), ran.summary["samples"]) == (0, 3, 3), redirect


async def test_an_inherited_folder_of_another_programs_metrics_is_ignored(bundle: Bundle) -> None:
    async with answering() as address:
        ran = await run(bundle, address, "--metrics", "127.0.0.1:0", PROMETHEUS_MULTIPROC_DIR="/nowhere/at/all")
        assert ran.code == 0, ran.err


async def test_a_mistyped_variable_is_said(bundle: Bundle) -> None:
    async with answering() as address:
        ran = await run(bundle, address, NEUCODEX_THRESHHOLD="0.5", NEUCODEX_LISTEN="127.0.0.1:1")
        assert "NEUCODEX_THRESHHOLD is read by no flag: did you mean NEUCODEX_THRESHOLD?" in ran.err
        assert "NEUCODEX_LISTEN" not in ran.err, "the cloud reads it"


@pytest.mark.parametrize("json", [["--json"], []])
async def test_a_cloud_cannot_forge_a_line(bundle: Bundle, json: list[str]) -> None:
    async with answering(reject=FORGED) as address:
        ran = await run(bundle, address, *json)
        assert ran.code == 1
        assert not [line for line in (ran.out + ran.err).splitlines() if line.startswith("right")]
        assert r"INTERNAL): no\nright  forged.png" in ran.err
        assert max(map(len, ran.err.splitlines())) < 500
        assert_no_controls(ran)


async def test_names_of_classes_and_files_cannot_forge_a_line(bundle: Bundle, tmp_path: Path) -> None:
    names = ("zero\nwrong  forged.png\x1b[31m[bold]", *map(str, range(1, 10)))
    renamed = write_parts(bundle, replace(bundle.manifest, class_names=names), {})
    async with answering() as address:
        ran = await run(renamed, address)
        assert ran.code == 0, ran.err
        assert r"prediction zero\nwrong  forged.png\x1b[31m[bold]" in ran.out
        assert_no_controls(ran)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a\nright  b.png", "c\x1b[2K.png"):
        (pictures / name).write_text("no picture")
    async with answering() as address:
        ran = await run(renamed, address, "--images", str(pictures), of=())
        assert ran.code == 1, ran.err
        assert rf"skipped: {pictures}/a\nright  b.png: " in ran.err
        assert_no_controls(ran)


def assert_no_controls(ran: EdgeRun) -> None:
    assert (ran.out + ran.err).replace("\n", "").isprintable()
