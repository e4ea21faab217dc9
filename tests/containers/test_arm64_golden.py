"""Frames are coded on arm64 as they are here: the golden vectors, the simple decoder, and many frames more."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.record import Clock, Findings, Goal
from tests.containers.arm64_root import Arm64Root
from tests.containers.conftest import REPOSITORY

PACKAGES = ("numpy", "safetensors", "zstandard", "dacite", "pytest", "hypothesis")
"""All that the codec and its tests need; constriction has no wheel for arm64."""
TESTS = (
    "tests/unit/shared/spike_codec/test_golden.py",
    "tests/unit/shared/spike_codec/test_codec.py::test_a_decoder_written_from_the_documentation_agrees",
)
PLAIN = ("-c", "/dev/null", "--noconftest", "-p", "no:cacheprovider", "--hypothesis-profile=ci", "-q")
"""No settings of the checkout: they ask for plugins and for torch. The profile has the same examples everywhere."""

Results = dict[str, str]
"""Of each test whether it passed, was skipped or failed."""


def test_arm64_codes_every_frame_as_this_machine_does(
    arm64: Arm64Root, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clock = Clock("arm64-golden")
    site = arm64.install(PACKAGES, REPOSITORY / "constraints.txt")
    for name in ("shared", "tests"):
        arm64.put(REPOSITORY / name, name)
    environment = {"PYTHONPATH": f"{site}:/neucodex", "OMP_NUM_THREADS": "1"}

    done = arm64.python("-m", "pytest", *PLAIN, "--junitxml=/junit.xml", *TESTS, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    there = results(arm64.path / "junit.xml")
    done = arm64.python("-m", "tests.containers.coded_frames", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    coded_there = json.loads(done.stdout)

    here_python = (sys.executable, "-m")
    here_environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    report = tmp_path / "junit.xml"
    subprocess.run(
        [*here_python, "pytest", *PLAIN, f"--junitxml={report}", *TESTS],
        cwd=REPOSITORY,
        env=here_environment,
        check=True,
    )
    here = results(report)
    coded_here = json.loads(
        subprocess.run(
            [*here_python, "tests.containers.coded_frames"],
            cwd=REPOSITORY,
            env=here_environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )

    equal = {key: coded_there[key] == coded_here[key] for key in ("frames", "bytes", "chosen", "sha256")}
    records = request.config.getoption("records")
    if records is not None:
        passed = sum(result == "passed" for result in there.values())
        for_all = sum("FastCoder" not in name for name in there)
        findings = Findings(
            n={"tests": len(there), "frames": coded_there["frames"]},
            results={
                "emulated": platform.machine() != "aarch64",
                "tests on arm64": there,
                "tests here": here,
                "frames on arm64": coded_there,
                "frames here": coded_here,
            },
            targets=[
                Goal("golden and simple-decoder tests passed on arm64", for_all, passed, "tests", "higher"),
                Goal("tests failed on arm64", 0, sum(r == "failed" for r in there.values()), "tests", "lower"),
                Goal("frames coded alike", 1, float(all(equal.values())), "share", "higher", "one SHA-256 of all"),
            ],
        )
        clock.write(findings, records / f"{date.today().isoformat()}-arm64-golden")

    assert coded_there["machine"] == "aarch64"
    assert all(equal.values()), f"{coded_there} differs from {coded_here}"
    assert set(there) == set(here)
    # The fast coder's tests are skipped where it has no wheel.
    assert all(result == "passed" or "FastCoder" in name for name, result in there.items()), there
    assert set(here.values()) == {"passed"}


def results(report: Path) -> Results:
    """What a JUnit report says of each test."""
    found = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        found[case.attrib["name"]] = {"skipped": "skipped"}.get(min(kinds, default=""), "failed") if kinds else "passed"
    assert found, report
    return found
