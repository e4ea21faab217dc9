"""The held-out digits as they were scanned: what bytes sent for them are compared with.

The network sees each 8 x 8 scan enlarged to 32 x 32, and as a file the enlargement is several times the scan.
"""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

from benchmarks.record import Findings
from edge_client.inputs.images import FORMATS, encoded_sizes
from edge_client.output.report import PICTURE_FILES
from edge_client.output.summary import Summary
from shared.datasets.digits import FILE, is_test

LEVELS = 17
"""A pixel is 0..16."""


def held_out_scans() -> NDArray[np.uint8]:
    """Uint8 [360, 8, 8], 0..16, in the order of the data set's test part."""
    with np.load(FILE) as stored:
        scans: NDArray[np.uint8] = stored["images"][is_test(stored["labels"].astype(np.int64))]
    return scans


def bytes_of(scans: NDArray[np.uint8]) -> dict[str, float]:
    """Mean bytes of a scan in each form: its pixels packed, and as the files that `encoded_sizes` makes, white 255.

    Args:
        scans: uint8 [N, 8, 8], 0..16.
    """
    white = np.rint(scans * (255 / (LEVELS - 1))).astype(np.uint8)
    files = [encoded_sizes(scan[np.newaxis]) or {} for scan in white]
    packed = scans[0].size * ceil(log2(LEVELS)) / 8
    return {"packed": packed, **{form: float(np.mean([sizes[form] for sizes in files])) for form in FORMATS}}


def compared_with_scans(figures: Summary) -> Summary:
    """A summary of digits whose picture files are those of the scans."""
    sent = figures["payload_bytes_per_sample"]
    if not sent:
        return figures
    sizes = bytes_of(held_out_scans()[: figures["samples"]])
    return {
        **figures,
        "picture_size": "8 x 8",
        **{f"{form}_bytes_per_sample": sizes[form] for form in FORMATS},
        **{f"ratio_{form}": sizes[form] / sent for form in FORMATS},
    }


def measure() -> Findings:
    """Sizes of all held-out scans."""
    scans = held_out_scans()
    sizes = bytes_of(scans)
    named = {"5 bits a pixel": sizes["packed"], **{name: sizes[form] for form, name in PICTURE_FILES.items()}}
    return Findings(n={"scans": len(scans)}, results={"mean bytes of a scan": named})
