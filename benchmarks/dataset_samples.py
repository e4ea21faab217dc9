"""The samples that benchmarks classify: the first ones of a data set's test part, as an edge reads them."""

from __future__ import annotations

from pathlib import Path

from edge_client.config import InputConfig
from edge_client.inference.sample import Sample
from edge_client.inputs.factory import open_source
from shared.bundle import Bundle


def samples_of(bundle: Bundle, dataset: str, data: Path | None, limit: int) -> list[Sample]:
    """At most `limit` samples in the bundle's input size.

    Raises:
        SourceError: there is no such data set, its files are missing, or it does not fit the bundle.
    """
    source = open_source(InputConfig(dataset=dataset, data=data, limit=limit), bundle.manifest)
    return [item for item in source if isinstance(item, Sample)]
