"""Fuzz what reads a bundle's files with atheris: `make fuzz`. Any bytes are a bundle's or are refused.

The first byte chooses the file, or a value of the manifest (the second byte says which); the rest is what stands there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own, see the Makefile

with atheris.instrument_imports(include=["shared", "edge_client"]):
    from shared.bundle import MANIFEST
    from tests.fuzz.bundles import FILES, try_file, whole, with_value

LIMIT_S = 2.0
"""Of the processor's time for one bundle: a busy machine is no finding."""


def one(raw: bytes) -> None:
    """One input of the fuzzer."""
    if len(raw) < 2:
        return
    began = time.thread_time()
    chosen = raw[0] % (len(FILES) + 1)
    if chosen < len(FILES):
        try_file(FILES[chosen], raw[1:])
    else:
        try_file(MANIFEST, with_value(raw[1], raw[2:]))
    assert time.thread_time() - began < LIMIT_S, "it takes long"


def main() -> None:
    """Run libFuzzer with the arguments given; the last one names the folder of the corpus."""
    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(FILES):
        (corpus / name).write_bytes(bytes([number]) + whole()[name])
    for number, value in enumerate((b"1e999", b"-1", b"NaN", b'"\\ud800"', b"[[]]", b"{}", b"1" * 400, b'"never"')):
        (corpus / f"value{number}").write_bytes(bytes([len(FILES), number]) + value)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
