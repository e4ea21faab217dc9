"""What benchmarks classify: the first samples of a data set's test part as an edge reads them, or as picture files."""

from __future__ import annotations

import itertools
from pathlib import Path

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.factory import open_source
from edge_client.inputs.images import encoded
from shared.bundle import Bundle
from shared.errors import ConfigError


def samples_of(bundle: Bundle, dataset: str, data: Path | None, limit: int) -> list[Sample]:
    """At most `limit` samples in the bundle's input size.

    Raises:
        SourceError: there is no such data set, its files are missing, or it does not fit the bundle.
    """
    source = open_source(InputConfig(dataset=dataset, data=data, limit=limit), bundle.manifest)
    return [item for item in source if isinstance(item, Sample)]


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
