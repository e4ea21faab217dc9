"""How many files and calls across files one picture costs: the figures of docs/architecture.md."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from edge_client.cli.classify import run_classify
from edge_client.config import EdgeConfig
from edge_client.input_config import InputConfig
from edge_client.output_config import OutputConfig
from shared.command_line import parse_address
from tests.support.call_profile import CallProfile
from tests.support.processes import cloud_process

DIGITS = Path(__file__).resolve().parents[2] / "models" / "resnet18-digits"
PICTURES = 24

EDGE_FILES, EDGE_CALLS = 14, 41
"""Files of edge_client/, and calls across files with those of shared/, that one picture may cost."""


class Marked(io.StringIO):
    """Standard output that tells a profile of each line: with --json, of each picture."""

    def __init__(self, profile: CallProfile) -> None:
        super().__init__()
        self._profile = profile

    def write(self, text: str) -> int:
        self._profile.next_picture()
        return super().write(text)


async def test_a_picture_passes_few_files_of_the_edge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = CallProfile(("edge_client", "shared", "protos"))
    with cloud_process(tmp_path, [DIGITS]) as cloud, profile:
        code = await run_classify(
            EdgeConfig(DIGITS, (parse_address(cloud.listen),)),
            InputConfig(dataset="digits", limit=PICTURES),
            OutputConfig(json=True, power_meter="none", no_picture_sizes=True),
            Marked(profile),
            io.StringIO(),
        )
    assert code == 0
    picture = profile.typical
    with capsys.disabled():
        print(f"\nthe edge: {str(picture).splitlines()[0]}")
    assert len([file for file in picture.files if file.startswith("edge_client/")]) <= EDGE_FILES, str(picture)
    assert picture.across_files <= EDGE_CALLS, str(picture)
