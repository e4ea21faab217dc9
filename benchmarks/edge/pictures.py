"""As many picture files as a measurement wants: the samples of a data set, in turn, at the bundle's input size."""

from __future__ import annotations

import itertools
from pathlib import Path

from benchmarks.dataset_samples import samples_of
from edge_client.inputs.images import encoded
from shared.bundle import Bundle
from shared.errors import ConfigError


def write_pictures(bundle: Bundle, dataset: str, data: Path | None, count: int, folder: Path) -> Path:
    """Write `count` pictures as PNG, 00000.png and on; fewer samples than that are repeated.

    Raises:
        ConfigError: the bundle takes no pictures.
    """
    if bundle.manifest.network.input_kind != "static":
        raise ConfigError(f"bundle {bundle.path} takes events: name one of pictures with --bundle")
    folder.mkdir(parents=True, exist_ok=True)
    samples = samples_of(bundle, dataset, data, count)
    for number, sample in zip(range(count), itertools.cycle(samples)):
        (folder / f"{number:05}.png").write_bytes(encoded(sample.pixels, "PNG"))
    return folder
