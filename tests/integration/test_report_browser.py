"""The testbed's report in a real browser: no script error, no empty figure, nothing wider than the window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.testbed.report.page import Record, write
from tests.support.processes import DEADLINE
from tests.unit.benchmarks.testbed.made_report import made_report_testbed, write_record

LOOK = """
<script>
  window.errors = [];
  addEventListener("error", event => errors.push(String(event.message || event.target.outerHTML)), true);
  addEventListener("load", () => {
    const ink = getComputedStyle(document.body);
    document.title = JSON.stringify({
      errors,
      pictures: [...document.images].map(image => image.naturalWidth),
      wide: document.documentElement.scrollWidth, window: innerWidth,
      colours: [ink.color, ink.backgroundColor],
    });
  });
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here: `apt-get install chromium` (350 MB) lets this test open the report")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    record = Record.read(write_record(made_report_testbed(), folder / "record"))
    return write([record], folder)[0]


def look(browser: str, page: Path, width: int, extra: str = "", *flags: str) -> dict[str, Any]:
    """What the browser says of the page in a window of that width; `extra` is put into its head."""
    watched = page.with_name(f"watched-{width}{len(extra)}{len(flags)}.html")
    framed = page.with_name(f"framed-{width}{len(extra)}{len(flags)}.html")
    watched.write_text(page.read_text().replace("<head>", f"<head>{LOOK}{extra}", 1))
    # A window of its own is never narrower than 500 px: a frame is.
    framed.write_text(
        f'<iframe src="{watched.name}" style="width:{width}px;height:900px;border:0"></iframe>'
        "<script>addEventListener('load', () => "
        "{ document.title = document.querySelector('iframe').contentDocument.title })"
        "</script>"
    )
    dom = subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", *flags,
         f"--user-data-dir={page.parent / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=4000",
         "--dump-dom", framed.as_uri()],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=2 * DEADLINE, check=True, text=True,
    ).stdout  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title is not None, "the page never loaded"
    said: dict[str, Any] = json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    return said


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_whole_at_every_width(browser: str, page: Path, width: int) -> None:
    seen = look(browser, page, width)
    assert seen["window"] == width
    assert seen["errors"] == []
    assert len(seen["pictures"]) == 8  # the overview, six figures, a sample
    assert all(seen["pictures"]), "each figure can be drawn"
    assert seen["wide"] <= width


def test_dark_is_dark(browser: str, page: Path) -> None:
    light = look(browser, page, 1280)
    dark = look(browser, page, 1280, "", "--blink-settings=preferredColorScheme=0")
    assert light["colours"] != dark["colours"]


def test_what_is_wrong_would_be_seen(browser: str, page: Path) -> None:
    seen = look(browser, page, 360, "<script>nothing()</script><style>h1 { width: 900px }</style>")
    assert any("nothing is not defined" in error for error in seen["errors"])
    assert seen["wide"] > 360
