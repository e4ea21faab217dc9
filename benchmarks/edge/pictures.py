"""As many picture files as a measurement wants: the samples of a data set, in turn, at the bundle's input size."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from edge_client.config import InputConfig
from edge_client.inference.sample import Sample
from edge_client.inputs.factory import open_source
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
    source = open_source(InputConfig(dataset=dataset, data=data, limit=count), bundle.manifest)
    samples = [item for item in source if isinstance(item, Sample)]
    for number, sample in zip(range(count), itertools.cycle(samples)):
        pixels = np.moveaxis(sample.pixels, 0, -1)
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / f"{number:05}.png")
    return folder
