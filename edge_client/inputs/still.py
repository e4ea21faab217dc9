"""Samples in which nothing happens are told apart before anything is computed or sent for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edge_client.heads.base import InputArray
from edge_client.inference.sample import Sample
from edge_client.inputs.base import Item, Source, Still
from shared.metrics import Metrics

LEAST_STEP = 20
"""Of 255: a pixel of a picture has changed where a colour differs by more. A camera's own noise is less."""


class StillGate(Source):
    """Another source's samples; one of whose pixels less than a share have changed is `Still`.

    Events: a pixel has changed that has an event in the window. Pictures: one that differs from the last picture that
    was not still, so that slow changes add up; the first one never is.

    Args:
        source: of frames of one stream.
        least: the share, above 0 and at most 1.
    """

    def __init__(self, source: Source, least: float) -> None:
        self._source = source
        self._least = least
        self.count = source.count
        self.simulated = source.simulated
        self.read_ahead = source.read_ahead

    def __iter__(self) -> Iterator[Item]:
        before: InputArray | None = None
        for item in self._source:
            if not isinstance(item, Sample):
                yield item
                continue
            changed = share_changed(item.pixels, before)
            if changed < self._least:
                yield Still(item, changed)
            else:
                before = item.pixels
                yield item

    def close(self) -> None:
        self._source.close()

    def observe(self, metrics: Metrics) -> None:
        self._source.observe(metrics)

    def stream_counts(self) -> Mapping[str, int] | None:
        return self._source.stream_counts()


def share_changed(pixels: InputArray, before: InputArray | None) -> float:
    """The share 0..1 of the pixels that changed.

    Args:
        pixels: uint8 [T, 2, H, W] of events, or [C, H, W] of a picture.
        before: the picture that it is compared with; None: all of it is new. Events tell by themselves.
    """
    if pixels.ndim == 4:
        return float(pixels.any(axis=(0, 1)).mean())
    if before is None:
        return 1.0
    steps = np.maximum(pixels, before) - np.minimum(pixels, before)
    return float((steps.max(axis=0) > LEAST_STEP).mean())
