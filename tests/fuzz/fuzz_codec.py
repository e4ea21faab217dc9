"""Fuzz the codec's decoders with atheris: `make fuzz`. Any bytes give a frame of the right shape, or CodecError.

The first bytes choose the codec, the coder behind it and the past; the rest is the frame. What decodes must also be
what the encoder writes (but for zstd), must come back from it, and nothing may take long or much memory.
"""

from __future__ import annotations

import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own, see the Makefile

from benchmarks.record import Clock, Findings, Goal

with atheris.instrument_imports(include=["shared"]):
    import numpy as np

    from shared.errors import CodecError
    from shared.messages import Codec
    from shared.spike_codec import SpikeCodec
    from shared.spike_codec.range_coder import FastCoder, PlainCoder
    from shared.spike_codec.sparse import encode_sparse
    from shared.spike_codec.zstd import ZstdCoder
    from tests.support.codec_tables import make_tables

SHAPE = (4, 8, 8)
TABLES = make_tables(SHAPE, depth=3, size=5, dictionary=bytes(range(256)) * 4)
FAST = SpikeCodec(SHAPE, TABLES)
PLAIN = SpikeCodec(SHAPE, TABLES)
assert TABLES.dictionary is not None
ZSTD = ZstdCoder(TABLES.dictionary, FAST.packed_bytes)
assert TABLES.model is not None
assert isinstance(FAST._coder, FastCoder), "constriction is what is to be fuzzed"
PLAIN._coder = PlainCoder(TABLES.model.chances)

LIMIT_S = 1.0
"""Of the processor's time: a busy machine is no finding."""
GROWTH_LIMIT_KB = 200_000
"""Beyond what the process takes when it starts; libFuzzer's corpus grows too."""

counts = {"inputs": 0, "frames": 0, "refused": 0}
slowest = 0.0
started_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def try_one(raw: bytes) -> None:
    """One input of the fuzzer."""
    global slowest  # noqa: PLW0603
    if len(raw) < 2:
        return
    counts["inputs"] += 1
    chosen, seed, data = raw[0] % 6, raw[1], raw[2:]
    past = None
    for step in range(seed % 6):
        past = FAST.next_context(past, np.random.default_rng(seed + step).integers(0, 2, SHAPE, np.uint8))
    began = time.thread_time()
    fast, plain = (decode(codec, chosen, data, past) for codec in (FAST, PLAIN))
    slowest = max(slowest, time.thread_time() - began)
    assert slowest < LIMIT_S, f"{slowest:.2f} s"
    neighbour = (Codec.RANGE, bytes([seed]))
    alone = (fast, decode(FAST, *neighbour, past), fast)
    together = FAST.decode_batch([(chosen, data), neighbour, (chosen, data)], [past] * 3)
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, CodecError) if one is None else np.array_equal(one, other), "a batch decodes otherwise"
    if fast is None or plain is None:
        assert fast is plain, "one coder refuses what the other takes"
        counts["refused"] += 1
        return
    counts["frames"] += 1
    assert np.array_equal(fast, plain)
    assert fast.shape == SHAPE
    assert fast.dtype == np.uint8
    assert int(fast.max()) <= 1
    if chosen == Codec.RANGE:
        assert FAST.range_bytes(fast, past) == data
    again, encoded = FAST.encode(fast, past)
    assert np.array_equal(FAST.decode(again, encoded, past), fast)
    if counts["frames"] % 1000 == 0:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started_kb
        assert grown < GROWTH_LIMIT_KB, f"{grown} kB more than at the start"


def decode(codec: SpikeCodec, chosen: int, data: bytes, past: np.ndarray | None) -> np.ndarray | None:
    """A frame, or None where it is refused. Any other exception is a finding."""
    try:
        return codec.decode(chosen, data, past)
    except CodecError:
        return None


def write_seeds(corpus: Path) -> None:
    """Sound frames in every codec, dense and sparse, for a start."""
    corpus.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(200):
        frame = (random.random(SHAPE) < random.choice([0.01, 0.1, 0.4])).astype(np.uint8)
        packed = np.packbits(frame).tobytes()
        spellings = (FAST.range_bytes(frame), packed, encode_sparse(frame.ravel()), ZSTD.encode(packed))
        chosen = number % 4
        (corpus / f"seed{number}").write_bytes(bytes((chosen, 0)) + (spellings[chosen] or b""))


def main() -> None:
    """Run libFuzzer with the arguments given; the last one names the folder of the corpus.

    `--record DIR` receives the record, anew every 10 seconds: libFuzzer ends the process without a word to Python.
    """
    write_seeds(Path(sys.argv[-1]))
    record = None
    if "--record" in sys.argv:
        at = sys.argv.index("--record")
        record = Path(sys.argv[at + 1])
        del sys.argv[at : at + 2]
    clock = Clock("fuzz")
    began = written = time.monotonic()

    def one(raw: bytes) -> None:
        nonlocal written
        try_one(raw)
        if record is not None and time.monotonic() - written > 10:
            written = time.monotonic()
            clock.write(findings(written - began), record)

    arguments = list(sys.argv)
    sys.argv[:] = ["make", "fuzz"]  # what the record shall say
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def findings(seconds: float) -> Findings:
    """What was done until now without a finding: one would have ended the process."""
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started_kb
    return Findings(
        n=dict(counts),
        results={
            "atheris": version("atheris"),
            "findings": 0,
            "frame": SHAPE,
            "grown_kb": grown,
            "slowest decode by both coders, seconds of the processor": round(slowest, 4),
        },
        targets=[
            Goal("inputs without anything but a frame or CodecError, for", 600, round(seconds), "s", "higher"),
            Goal("longest decode, by both coders", LIMIT_S, round(slowest, 4), "s", "lower"),
            Goal("memory beyond the start's", GROWTH_LIMIT_KB, grown, "kB", "lower"),
        ],
    )


if __name__ == "__main__":
    main()
