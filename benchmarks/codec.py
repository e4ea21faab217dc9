"""The spike codec beside what else one could send: on a bundle's own spikes, and on random ones of many densities.

All forms are timed in one run, frame by frame in turn, so that a busy machine slows all of them; sizes are exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.codec_forms import OURS, forms_of, spread_of, timed
from benchmarks.codec_made import COUNTS, WIDE, synthetic, wide_times
from benchmarks.codec_plot import plot
from benchmarks.record import Findings, Goal
from edge_client.heads.factory import open_head
from shared.bundle import Bundle
from shared.errors import BundleError
from shared.spike_codec import CodecTables, SpikeCodec
from shared.spike_codec.range_coder import PlainCoder
from training.codec_fit import default_reach, fit_tables, train_dictionary
from training.collect_spikes import Frames, bundle_samples, bundle_spikes
from training.commands.codec import zero_order_bytes
from training.data import evenly_spaced

OTHERS = ("packed bits", "zstd, dictionary", "positions (varints)")
"""What the goal of the codec is counted from; zstd without a dictionary is never the best of these."""


def measure(
    out: Path,
    bundle: Path,
    dataset: str,
    data: Path | None,
    *,
    allow_partial: bool = False,
    limit: int = 2000,
    quick: bool = False,
) -> Findings:
    """Measure all forms; write the plot into `out`.

    Args:
        out: the record's folder; made where it is missing.
        bundle: whose spikes are taken, and whose tables, if it has some.
        dataset: what it was trained on: the dictionary, and tables it lacks, are fitted to the training part.
        data: where the data set is.
        allow_partial: take the data set although recordings of it are missing.
        limit: samples of each part.
        quick: few samples, and no tables fitted with less context for comparison.
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
    dictionary = train_dictionary(train)
    sizes = _sizes(codec, dictionary, test)
    times = _times(codec, dictionary, test[: 40 if quick else 200], opened, samples[1], tables.model.chances)
    results: dict[str, Any] = {
        "bundle": opened.manifest.name,
        "tables": "the bundle's" if arrays is not None else "fitted here",
        "table bytes": {name: values.nbytes for name, values in tables.arrays().items()},
        "bytes of a frame": sizes,
        "microseconds of a frame, median [10th, 90th percentile]": times,
        "random spikes": synthetic(COUNTS[:2] if quick else COUNTS, 5 if quick else 30),
    }
    wide: dict[str, list[float]] | None = None
    if not quick:
        wide = results["1,024 positions, microseconds, median [10th, 90th percentile]"] = wide_times()
        results["bytes of a frame with less context"] = _contexts(train, test)
    plot(out, sizes, results["random spikes"])
    return Findings(
        n={
            "training samples": len(train),
            "test samples": len(test),
            "timesteps": test.shape[1],
            "positions": codec.spikes,
        },
        results=results,
        targets=_targets(codec, sizes, times, wide),
    )


def _sizes(codec: SpikeCodec, dictionary: bytes | None, frames: Frames) -> dict[str, Any]:
    """The mean of each form's bytes, by timestep and over all; and what the codec chose."""
    timesteps = frames.shape[1]
    forms = forms_of(codec, dictionary)
    found = {name: np.zeros((len(frames), timesteps)) for name in (*forms, "codec's choice")}
    chosen: dict[str, int] = {}
    for number, sample in enumerate(frames):
        past = None
        for timestep, frame in enumerate(sample):
            for name, (encode, _) in forms.items():
                found[name][number, timestep] = len(encode(frame, past))
            which, data = codec.encode(frame, past)
            found["codec's choice"][number, timestep] = len(data)
            chosen[which.name] = chosen.get(which.name, 0) + 1
            past = codec.next_context(past, frame)
    found["zero-order entropy, each frame's own density"] = np.array(
        [[zero_order_bytes(sample[t : t + 1]) for t in range(timesteps)] for sample in frames]
    )
    return {
        "mean": {name: round(float(values.mean()), 3) for name, values in found.items()},
        "by timestep": {name: [round(float(v), 3) for v in values.mean(0)] for name, values in found.items()},
        "largest": {name: int(values.max()) for name, values in found.items()},
        "bits per position, codec's choice": round(float(found["codec's choice"].mean()) * 8 / codec.spikes, 4),
        "chosen": chosen,
    }


def _times(
    codec: SpikeCodec,
    dictionary: bytes | None,
    frames: Frames,
    bundle: Bundle,
    samples: NDArray[np.uint8],
    chances: NDArray[np.uint32],
) -> dict[str, Any]:
    """Each form on each frame in turn, and between them a step of the head."""
    forms = forms_of(codec, dictionary)
    slow = SpikeCodec(codec.shape)
    slow._model, slow._coder = codec._model, PlainCoder(chances)
    forms[f"{OURS}, coder in Python"] = (slow.range_bytes, lambda d, past: slow.decode(0, d, past))
    forms["codec's choice"] = (codec.encode, lambda d, past: codec.decode(d[0], d[1], past))
    took: dict[str, list[float]] = {"head step": []}
    head = open_head(bundle, "torch", 1)
    for sample, picture in zip(frames, samples, strict=False):
        past = None
        run = head.start(picture)
        for frame in sample:
            timed(took, "head step", run.step)
            for name, (encode, decode) in forms.items():
                data = timed(took, f"{name}: encode", partial(encode, frame, past))
                fits = name == "codec's choice" or len(data) <= codec.max_bytes
                if decode is not None and fits:
                    timed(took, f"{name}: decode", partial(decode, data, past))
            past = timed(took, "past of the next frame", partial(codec.next_context, past, frame))
    return {name: spread_of(values) for name, values in took.items()}


def _contexts(train: Frames, test: Frames) -> dict[str, list[float]]:
    """What each part of the model is worth: mean bytes by timestep, of tables fitted without it."""
    reach = default_reach(train.shape[2])
    variants: Mapping[str, CodecTables] = {
        "place": fit_tables(train, 0, depth=0, neighbours=False),
        "place, past of 1": fit_tables(train, 0, depth=1, neighbours=False),
        "place, past of 3": fit_tables(train, 0, neighbours=False),
        "place, past of 3, other channels": fit_tables(train, 0),
        "place, past of 3, neighbours within 1": fit_tables(train, 1),
        **({"place, past of 3, neighbours within 2": fit_tables(train, 2)} if reach == 2 else {}),
    }
    out = {}
    for name, tables in variants.items():
        codec = SpikeCodec(test.shape[2:], tables)
        sizes: list[list[int]] = []
        for sample in test:
            past = None
            sizes.append([])
            for frame in sample:
                sizes[-1].append(len(codec.range_bytes(frame, past) or b""))
                past = codec.next_context(past, frame)
        out[name] = [round(float(value), 3) for value in np.mean(sizes, axis=0)]
    return out


def _targets(codec: SpikeCodec, sizes: Any, times: Any, wide: Any) -> list[Goal]:
    mean = sizes["mean"]
    ours = mean["codec's choice"]
    best = min(mean[name] for name in OTHERS if name in mean)
    entropy = mean["zero-order entropy, each frame's own density"]
    head = times["head step"][0]
    real = {step: times[f"codec's choice: {step}"][0] for step in ("encode", "decode")}
    at: dict[str, float | None] = {"encode": None, "decode": None}
    note = "not measured with --quick"
    if codec.shape == WIDE:
        at, note = {**real}, "the bundle's frames"
    elif wide is not None:
        at = {step: max(wide[f"{name} frame: {step}"][0] for name in ("first", "later")) for step in real}
        note = "made frames; the slower of a sample's first and its later ones"
    return [
        Goal(
            "payload below the best of packed bits, zstd with dictionary, varints",
            0.25,
            round(1 - ours / best, 3),
            "fraction",
            "higher",
            f"{ours} bytes against {best}",
        ),
        Goal("payload over the frames' zero-order entropy", 1.0, round(ours / entropy, 3), "ratio", "lower"),
        Goal(
            "bits per position", 1.0, sizes["bits per position, codec's choice"], "bit", "lower", "packed bits have 1"
        ),
        Goal("encode, 1,024 positions", 60, at["encode"], "us", "lower", note),
        Goal("decode, 1,024 positions", 150, at["decode"], "us", "lower", note),
        Goal(
            "encode over a step of the head, this bundle",
            0.05,
            round(real["encode"] / head, 3),
            "ratio",
            "lower",
            f"head {head} us",
        ),
        Goal(
            "decode over a step of the head, this bundle",
            0.05,
            round(real["decode"] / head, 3),
            "ratio",
            "lower",
            f"head {head} us",
        ),
    ]
