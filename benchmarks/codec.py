"""The spike codec beside what else one could send, on a bundle's own spikes.

All forms are timed in one run, frame by frame in turn, so that a busy machine slows all of them; sizes are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codec_times import CHOICE, WIDE, Form, forms_of, frame_times, wide_times
from benchmarks.record import Findings, Goal
from shared.bundle import Bundle
from shared.errors import BundleError
from shared.spike_codec import CodecContext, CodecTables, SpikeCodec, Spikes
from training.codec_fit import default_reach, fit_tables, train_dictionary
from training.collect_spikes import SpikeTrain, bundle_samples, bundle_spikes
from training.commands.codec import zero_order_bytes
from training.data import evenly_spaced

OTHERS = ("packed bits", "zstd, dictionary", "positions (varints)")
"""What the goal of the codec is counted from; zstd without a dictionary is never the best of these."""

ENTROPY = "zero-order entropy, each frame's own density"


def measure(
    bundle: Path,
    dataset: str,
    data: Path | None,
    *,
    allow_partial: bool = False,
    limit: int = 2000,
    quick: bool = False,
) -> Findings:
    """Measure all forms; `neucodex-bench codec --help` says what each argument is.

    The dictionary, and tables that the bundle lacks, are fitted to the training part of its data set. `quick` takes few
    samples, and fits no tables with less context for comparison.
    """
    opened = Bundle.open(bundle)
    limit = min(limit, 200) if quick else limit
    samples = [
        evenly_spaced(part, limit) for part in bundle_samples(opened, dataset, data, allow_partial=allow_partial)
    ]
    train, test = (bundle_spikes(opened, part) for part in samples)
    arrays = opened.codec_arrays()
    shape = opened.manifest.frame_shape
    tables = fit_tables(train) if arrays is None else CodecTables.from_arrays(arrays, shape)
    if tables.model is None:
        raise BundleError(f"bundle {bundle} has codec tables without a model: run neucodex-train codec on it")
    codec = SpikeCodec(shape, tables)
    forms = forms_of(codec, train_dictionary(train))
    sizes = _sizes(codec, forms, test)
    times = frame_times(codec, tables.model, forms, test[: 40 if quick else 200], opened, samples[1])
    results: dict[str, Any] = {
        "bundle": opened.manifest.name,
        "tables": "the bundle's" if arrays is not None else "fitted here",
        "table bytes": {name: values.nbytes for name, values in tables.arrays().items()},
        "bytes of a frame": sizes,
        "microseconds of a frame, median [10th, 90th percentile]": times,
    }
    wide: dict[str, list[float]] | None = None
    if not quick:
        wide = results["1,024 positions, microseconds, median [10th, 90th percentile]"] = wide_times()
        results["bytes of a frame with less context"] = _contexts(train, test)
    n = {"training samples": len(train), "test samples": len(test)}
    n |= {"timesteps": test.shape[1], "positions": codec.spikes}
    return Findings(n, results, _goals(codec, sizes, times, wide))


def _sizes(codec: SpikeCodec, forms: dict[str, Form], frames: SpikeTrain) -> dict[str, Any]:
    """The mean of each form's bytes, by timestep and over all; and what the codec chose."""
    sizes: dict[str, list[float]] = {name: [] for name in (*forms, CHOICE, ENTROPY)}
    chosen: Counter[str] = Counter()
    for frame, past in (each for sample in frames for each in _with_past(codec, sample)):
        which, data = codec.encode(frame, past)
        chosen[which.name] += 1
        for name, (encode, _) in forms.items():
            sizes[name].append(len(encode(frame, past)))
        sizes[CHOICE].append(len(data))
        sizes[ENTROPY].append(zero_order_bytes(frame[np.newaxis]))
    found = {name: np.reshape(values, frames.shape[:2]) for name, values in sizes.items()}
    return {
        "mean": {name: round(float(values.mean()), 3) for name, values in found.items()},
        "by timestep": {name: [round(float(v), 3) for v in values.mean(0)] for name, values in found.items()},
        "largest": {name: int(values.max()) for name, values in found.items()},
        "bits per position, codec's choice": round(float(found[CHOICE].mean()) * 8 / codec.spikes, 4),
        "chosen": dict(chosen),
    }


def _with_past(codec: SpikeCodec, sample: SpikeTrain) -> Iterator[tuple[Spikes, CodecContext | None]]:
    """Each frame of a sample with what the codec knows of those before it."""
    past = None
    for frame in sample:
        yield frame, past
        past = codec.next_context(past, frame)


def _contexts(train: SpikeTrain, test: SpikeTrain) -> dict[str, list[float]]:
    """What each part of the model is worth: mean bytes by timestep, of tables fitted without it."""
    variants = {
        "place": fit_tables(train, 0, depth=0, neighbours=False),
        "place, past of 1": fit_tables(train, 0, depth=1, neighbours=False),
        "place, past of 3": fit_tables(train, 0, neighbours=False),
        "place, past of 3, other channels": fit_tables(train, 0),
        "place, past of 3, neighbours within 1": fit_tables(train, 1),
    }
    if default_reach(train.shape[2]) == 2:
        variants["place, past of 3, neighbours within 2"] = fit_tables(train, 2)
    out = {}
    for name, tables in variants.items():
        codec = SpikeCodec(test.shape[2:], tables)
        sizes = [[len(codec.range_bytes(*each) or b"") for each in _with_past(codec, sample)] for sample in test]
        out[name] = [round(float(value), 3) for value in np.mean(sizes, axis=0)]
    return out


def _goals(codec: SpikeCodec, sizes: Any, times: Any, wide: Any) -> list[Goal]:
    mean = sizes["mean"]
    ours, best = mean[CHOICE], min(mean[name] for name in OTHERS if name in mean)
    head = times["head step"][0]
    beside = f"head {head} us"
    real = {step: times[f"{CHOICE}: {step}"][0] for step in ("encode", "decode")}
    at, note = dict[str, float](), "not measured with --quick"
    if codec.shape == WIDE:
        at, note = real, "the bundle's frames"
    elif wide is not None:
        at = {step: max(wide[f"{name} frame: {step}"][0] for name in ("first", "later")) for step in real}
        note = "made frames; the slower of a sample's first and its later ones"
    below = "payload below the best of packed bits, zstd with dictionary, varints"
    bits = sizes["bits per position, codec's choice"]
    return [
        Goal(below, 0.25, round(1 - ours / best, 3), "fraction", "higher", f"{ours} bytes against {best}"),
        Goal("payload over the frames' zero-order entropy", 1.0, round(ours / mean[ENTROPY], 3), "ratio", "lower"),
        Goal("bits per position", 1.0, bits, "bit", "lower", "packed bits have 1"),
        *(
            Goal(f"{step}, 1,024 positions", goal, at.get(step), "us", "lower", note)
            for step, goal in (("encode", 60), ("decode", 150))
        ),
        *(
            Goal(f"{step} over a step of the head, this bundle", 0.05, round(took / head, 3), "ratio", "lower", beside)
            for step, took in real.items()
        ),
    ]
