"""Which reference pages there are, and what writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import click

from benchmarks.__main__ import main_group as bench
from cloud_server.__main__ import command as cloud
from docs.generate.exit_codes import exit_codes_page
from docs.generate.flags import flags_page
from docs.generate.manifest import manifest_page
from docs.generate.metrics import metrics_page
from docs.generate.wire import wire_page
from edge_client.__main__ import cli as edge
from shared.health_check import command as health
from training.__main__ import main_group as train

PROGRAMS: Mapping[str, click.Command] = {
    "neucodex-edge": edge,
    "neucodex-cloud": cloud,
    "neucodex-train": train,
    "neucodex-bench": bench,
    "python -m shared.health_check": health,
}

PAGES: Mapping[str, Callable[[], str]] = {
    **{
        f"{program.rpartition('.')[2].replace('_', '-')}.md": partial(flags_page, program, command)
        for program, command in PROGRAMS.items()
    },
    "metrics.md": metrics_page,
    "manifest.md": manifest_page,
    "wire.md": wire_page,
    "exit-codes.md": exit_codes_page,
}
