from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.prose.pages import ROOT

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("0*.md"))
TITLE = re.compile(r"# (\d+)\. (.+)")
STATUS = re.compile(r"Status: (accepted|replaced|withdrawn), (20\d\d-\d\d-\d\d)\b.*")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_a_number_a_status_and_a_line_in_the_list(record: Path) -> None:
    first, _, third, *_ = record.read_text().splitlines()
    title, status = TITLE.fullmatch(first), STATUS.fullmatch(third)
    assert title, f"the first line must be `# {int(record.name[:4])}. What was decided`"
    assert status, "the third line must be `Status: accepted, DATE`, with anything behind it"
    assert int(title[1]) == int(record.name[:4])
    listed = f"| [{title[1]}]({record.name}) | {title[2]} | {status[2]} |"
    assert listed in (FOLDER / "README.md").read_text().splitlines(), f"README.md there lacks: {listed}"
