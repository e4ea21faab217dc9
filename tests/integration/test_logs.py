"""What processes write to standard error: with --log-format json nothing but objects, whoever writes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.bundle import Bundle
from tests.support.edges import ROOT, run_edge
from tests.support.processes import DEADLINE, CloudProcess, wait_for

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

EVERYBODY = """
import ctypes, os, sys, threading, warnings
from shared.logs import configure_logs

configure_logs(sys.argv[1], "info")
warnings.warn("a warning")
os.write(2, b"E0000 00:00:1.5 gRPC's core\\n{not json\\n\\n")
print('{"from": "a child"}', file=sys.stderr)
print("failed: x", file=sys.stderr)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError("nobody catches")
"""


def write(log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", EVERYBODY, log_format], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    return done.stderr.splitlines()


def objects(lines: list[str]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in lines]
    assert all(isinstance(line, dict) for line in found)
    return found


def test_as_json_every_line_is_an_object_whoever_wrote_it() -> None:
    lines = objects(write("json"))
    (child,) = [line for line in lines if "from" in line]
    assert child == {"from": "a child"}
    ours = [line for line in lines if "from" not in line]
    assert all(re.fullmatch(MOMENT, line["time"]) for line in ours)
    said = {(line["logger"], line["level"]) for line in ours if line["logger"] == "stderr"}
    assert said == {("stderr", "ERROR"), ("stderr", "WARNING"), ("stderr", "INFO")}
    level = {line["message"].split()[0]: line["level"] for line in ours}
    assert (level["E0000"], level["failed:"], level["{not"]) == ("ERROR", "WARNING", "INFO")
    assert ["a warning" in line["message"] for line in ours if line["logger"] == "py.warnings"] == [True]
    uncaught = [line["exc_info"] for line in ours if line["level"] == "CRITICAL"]
    assert ["ZeroDivisionError" in uncaught[0], "ValueError: nobody catches" in uncaught[1]] == [True, True]


def test_as_text_a_line_has_its_time_with_a_zone() -> None:
    program = "import logging, sys; from shared.logs import configure_logs; configure_logs('text', 'info');"
    done = subprocess.run(
        [sys.executable, "-c", f"{program} logging.getLogger('a.b').info('x %d', 1)"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert re.fullmatch(rf"{MOMENT} INFO    a\.b: x 1\n", done.stderr)


def test_a_cloud_of_two_processes_with_a_talkative_grpc(bundle: Bundle, tmp_path: Path) -> None:
    flags = ("--insecure", "--log-format", "json", "--processes", "2")
    with CloudProcess(tmp_path, [bundle.path], *flags) as cloud:
        cloud.wait_ready(DEADLINE)
        with socket.create_connection(cloud.listen.split(":"), timeout=DEADLINE) as stranger:
            stranger.sendall(b"this is no HTTP/2\r\n\r\n")
            wait_for(lambda: not stranger.recv(4096), "the connection to be closed")
        cloud.process.terminate()
        assert cloud.wait() == 0
    lines = objects(cloud.log.read_text().splitlines())
    assert any(line.get("event") == "ready" for line in lines)


def test_an_edge_that_ends_with_an_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    run = run_edge(
        "--bundle", str(bundle.path), "--cloud", "127.0.0.1:1", "--images", str(tmp_path / "x.png"),
        "--log-format", "json", "--deadline", "0.5",
        environment={"GRPC_VERBOSITY": "debug", "GRPC_TRACE": "http"},
    )  # fmt: skip
    assert run.code == 5
    lines = objects(run.err.splitlines())
    assert any(line["level"] == "ERROR" and "no cloud at 127.0.0.1:1" in line["message"] for line in lines)
    assert any(re.match(r"[IWE]\d{4} ", line["message"]) for line in lines), "gRPC's core was to speak"


MUCH = """
import os, sys
from shared.logs import configure_logs, let_standard_error_fail

let_standard_error_fail()
configure_logs(sys.argv[1], "info")
for _ in range(5000):
    print("a line that takes its room in a pipe, which holds 64 KB", file=sys.stderr)
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_takes_lines_and_nothing_else(log_format: str) -> None:
    nothing_there = ("cloud_server", "--insecure", "--bundle", "/none", "--log-format", log_format)
    for arguments, code in ((("-c", MUCH, log_format), 0), (("-m", *nothing_there), 3)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stderr=full, check=False, timeout=DEADLINE)
        assert done.returncode == code
