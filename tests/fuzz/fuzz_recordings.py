"""Fuzz the readers of event recordings with atheris: `make fuzz`. Any bytes are a recording or are refused.

The first byte chooses the format; the rest is the file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own, see the Makefile

with atheris.instrument_imports(include=["shared"]):
    from shared.datasets.event_files import READERS
    from tests.fuzz.recordings import seeds, try_bytes

SUFFIXES = sorted(suffix for suffix in READERS if suffix != ".aedat4")  # that one's reader is another project's
LIMIT_S = 2.0
"""Of the processor's time for one file: a busy machine is no finding."""


def one(raw: bytes) -> None:
    """One input of the fuzzer."""
    if not raw:
        return
    began = time.thread_time()
    try_bytes(SUFFIXES[raw[0] % len(SUFFIXES)], raw[1:])
    assert time.thread_time() - began < LIMIT_S, "it takes long"


def main() -> None:
    """Run libFuzzer with the arguments given; the last one names the folder of the corpus."""
    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for name, raw in seeds().items():
        (corpus / name).write_bytes(bytes([SUFFIXES.index(Path(name).suffix)]) + raw)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
