"""An `Edge` in forked processes: what cannot work says so at once, and a spawned process works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import DEADLINE, cloud_process

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "resnet18-digits"

PROGRAM = """
import asyncio, multiprocessing, sys
import numpy as np
from neucodex import Edge, LinkSecurity

BUNDLE, CLOUD, PICTURE = sys.argv[1], sys.argv[2], np.zeros((16, 16), np.uint8)
HERE = LinkSecurity(insecure=True)

def inherited(answers):
    told(answers, lambda: edge.classify(PICTURE))

def opened_here(answers):
    def work():
        with Edge.blocking(BUNDLE, CLOUD, security=HERE) as own:
            own.classify(PICTURE)
    told(answers, work)

def opened_here_for_asyncio(answers):
    async def work():
        async with Edge(BUNDLE, CLOUD, security=HERE) as own:
            await own.classify(PICTURE)
    told(answers, lambda: asyncio.run(work()))

def told(answers, work):
    try:
        work()
        answers.put("classified")
    except RuntimeError as error:
        answers.put(str(error))

def child(how, work):
    context = multiprocessing.get_context(how)
    answers = context.SimpleQueue()
    process = context.Process(target=work, args=(answers,))
    process.start()
    print(how, work.__name__, answers.get(), flush=True)
    process.join()
    assert process.exitcode == 0

if __name__ == "__main__":
    child("fork", opened_here)
    with Edge.blocking(BUNDLE, CLOUD, security=HERE) as edge:
        edge.classify(PICTURE)
        for work in (inherited, opened_here, opened_here_for_asyncio):
            child("fork", work)
        edge.classify(PICTURE)
    child("fork", opened_here)
    child("spawn", opened_here)
"""


def test_a_fork_is_told_that_no_edge_works_in_it(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with cloud_process(tmp_path / "cloud", [DIGITS]) as cloud:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", program, DIGITS, cloud.listen],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "fork opened_here classified", "a fork from before the first Edge"
    assert [line.split()[1] for line in lines[1:5]] == [
        "inherited",
        "opened_here",
        "opened_here_for_asyncio",
        "opened_here",
    ]
    for line in lines[1:5]:
        assert "no Edge works in a fork: start processes with multiprocessing.get_context('spawn')" in line
    assert lines[5] == "spawn opened_here classified"
