"""The input of a classification."""

from __future__ import annotations

from dataclasses import dataclass

from edge_client.heads.base import InputArray


@dataclass(frozen=True)
class Sample:
    """One input: `pixels` uint8 [C, H, W] (a picture) or [T, C, H, W] (events), as the bundle takes them.

    `id` counts from 0 in the source's order; `name` is the same in every run over the same input. `label` is an index
    into the bundle's class names, None where it is not known. `time_s` is where it begins in what it was cut from, in
    seconds; None where it was not cut. `taken_at` is when the input came to be, in seconds since 1970: a camera's frame
    was taken, a file was last written; None where that is not known.
    """

    id: int
    name: str
    label: int | None
    pixels: InputArray
    time_s: float | None = None
    taken_at: float | None = None
