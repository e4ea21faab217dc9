"""Sphinx's settings for the site: `make docs`. Its source is the top folder, so that links work as on GitHub."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.version import VERSION

project = "NeuCODEX"
author = "the NeuCODEX developers"
release = version = VERSION

extensions = ["myst_parser", "sphinxcontrib.mermaid"]
root_doc = "docs/site"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/**",
    "deploy/README.md",
    "examples/node/README.md",
]
exclude_patterns = ["**/node_modules/**", "docs/README.md"]

# Headings get the anchors that GitHub gives them. A link that leads nowhere is a warning, and warnings are errors.
myst_heading_anchors = 6
myst_fence_as_directive = ["mermaid"]
nitpicky = True
# Folders of the repository, which the site has no pages of. `make lint` looks whether they are there.
nitpick_ignore_regex = [("myst", r".*/"), ("myst", r"[./]*benchmarks/records/[\w-]+")]

html_theme = "furo"
html_title = f"NeuCODEX {VERSION}"
html_copy_source = False
