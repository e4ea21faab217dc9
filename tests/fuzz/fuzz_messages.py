"""Fuzz the parsers of messages with atheris: `make fuzz`. The first byte chooses the side that reads the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own, see the Makefile

with atheris.instrument_imports(include=["shared", "edge_client", "cloud_server"]):
    from tests.fuzz.messages import SIDES, seeds, try_message


def one(raw: bytes) -> None:
    """One input of the fuzzer."""
    if raw:
        try_message(SIDES[raw[0] % len(SIDES)], raw[1:])


def main() -> None:
    """Run libFuzzer with the arguments given; the last one names the folder of the corpus."""
    corpus = Path(sys.argv[-1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, side in enumerate(SIDES):
        for place, raw in enumerate(seeds()[side]):
            (corpus / f"{side}{place}").write_bytes(bytes([number]) + raw)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
