"""The digits' scans, in their order, and what a summary is compared with."""

from __future__ import annotations

import numpy as np

from benchmarks.scans import bytes_of, compared_with_scans, held_out_scans
from shared.datasets.registry import load_split


def test_they_are_what_the_test_part_was_enlarged_from() -> None:
    scans = held_out_scans()
    assert scans.max() == 16
    unchanged = load_split("digits", None, "test", size=8).frames[:, 0]
    assert (np.rint(scans * (255 / 16)) == unchanged).all()


def test_a_scan_is_smaller_than_its_enlargement_in_every_form() -> None:
    sizes = bytes_of(held_out_scans())
    assert sizes["packed"] == 40
    assert 100 < sizes["png"] < 150 < sizes["jpeg"] < 300


def test_a_summary_is_compared_with_the_scans_of_its_samples() -> None:
    sizes = bytes_of(held_out_scans()[:12])
    summary = {"samples": 12, "payload_bytes_per_sample": 10.0, "png_bytes_per_sample": 600.0, "ratio_png": 60.0}
    compared = compared_with_scans(summary)
    assert compared["picture_size"] == "8 x 8"
    assert compared["png_bytes_per_sample"] == sizes["png"]
    assert compared["ratio_png"] == sizes["png"] / 10
    assert compared["ratio_jpeg"] == sizes["jpeg"] / 10


def test_where_nothing_was_sent_there_is_nothing_to_compare() -> None:
    summary = {"samples": 0, "payload_bytes_per_sample": None, "ratio_png": None}
    assert compared_with_scans(summary) == summary
