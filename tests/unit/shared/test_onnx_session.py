from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.edges import ROOT

OPEN = """
from pathlib import Path
from shared.bundle import Bundle
from shared.onnx_session import open_session
open_session(Bundle.open(Path("models/resnet18-digits")), "head-rate", 1)
"""
TURNED_OFF = "ORT_DISABLE_TELEMETRY"


def test_onnxruntime_leaves_no_identifier_of_the_machine(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != TURNED_OFF}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", OPEN], cwd=ROOT, env=environment, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.rglob("*")) == []
