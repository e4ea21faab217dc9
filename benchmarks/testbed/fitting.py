"""At which quality a picture file is as good as the pair: fitted on pictures held out of the training part.

The rival's accuracy is that of the plain float network (plain_network.py) on the decoded file; the pair's is that of
its bundle with its calibrated exit. The lowest quality whose accuracy reaches the pair's is taken, by bisection:
accuracy grows with quality but for noise of a few pictures. The test part is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.testbed.alternative import CODECS, Alternative, PictureCodec
from benchmarks.testbed.picture_files import decode, encode
from benchmarks.testbed.plain_network import FLOAT, PlainNetwork
from benchmarks.testbed.schema import FittedFile
from shared.bundle import Bundle
from training.calibrate import cloud_confidences
from training.data import Samples, to_input
from training.execute import execute_bundle
from training.executed import read_answers

QUALITIES = range(1, 96)
"""Beyond 95 files grow and pictures hardly change."""

BATCH = 50


def fit_files(bundle: Bundle, held_out: Samples, folder: Path, threads: int) -> tuple[FittedFile, ...]:
    """The quality of each codec at which its files are as accurate as the pair.

    Args:
        bundle: the pair's.
        held_out: pictures that it was not trained with.
        folder: holds the plain network.
        threads: of an operation.
    """
    plain, wanted = PlainNetwork(folder / FLOAT, threads), pair_accuracy(bundle, held_out)
    pictures, labels = held_out.frames.numpy(), held_out.labels.numpy()

    def score(codec: PictureCodec, quality: int) -> float:
        right = [
            plain.classify(decode(encode(picture, codec, quality), codec, picture.shape)).argmax() == label
            for picture, label in zip(pictures, labels, strict=True)
        ]
        return float(np.mean(right))

    found = []
    for codec in CODECS:
        quality, reached = lowest(QUALITIES, lambda quality, codec=codec: score(codec, quality), wanted)  # type: ignore[misc]
        found.append(FittedFile(codec, quality, reached, wanted, len(labels)))
    return tuple(found)


def lowest(qualities: Sequence[int], score: Callable[[int], float], wanted: float) -> tuple[int, float]:
    """The lowest quality that scores `wanted`, and its score; the highest where none does."""
    low, high, at_high = 0, len(qualities) - 1, score(qualities[-1])
    if at_high < wanted:
        return qualities[-1], at_high
    while low < high:
        middle = (low + high) // 2
        if (there := score(qualities[middle])) >= wanted:
            high, at_high = middle, there
        else:
            low = middle + 1
    return qualities[high], at_high


def pair_accuracy(bundle: Bundle, samples: Samples) -> float:
    """The accuracy of a bundle's pair with its exit."""
    executed, policy, total = execute_bundle(bundle), bundle.settings.exit_policy, bundle.manifest.network.timesteps
    settings, right = bundle.settings, 0
    for at in range(0, len(samples), BATCH):
        frames = samples.frames[at : at + BATCH]
        with torch.inference_mode():
            inputs = to_input(frames, bundle.manifest.normalisation, bundle.manifest.network.input_kind)
            logits = executed.logits(executed.frames(inputs))
            answers = read_answers(bundle.execution, logits, settings.readout_leak).numpy().astype(np.float64)
        confidences = cloud_confidences(answers, settings.temperature)
        for sample, label in enumerate(samples.labels[at : at + BATCH].tolist()):
            stops = (t for t in range(total) if policy.should_stop(tuple(confidences[t, sample].tolist())))
            right += int(confidences[next(stops, total - 1), sample].argmax()) == label
    return right / len(samples)


def with_qualities(alternatives: Sequence[Alternative], fitted: Sequence[FittedFile]) -> tuple[Alternative, ...]:
    """The alternatives, those that ask for it with the quality that was fitted."""
    qualities = {each.codec: each.quality for each in fitted}
    return tuple(
        replace(each, quality=qualities[each.codec], title=f"{each.title} q{qualities[each.codec]}")
        if each.fitted and each.codec is not None
        else each
        for each in alternatives
    )
