"""`samples.npz`, each sample of a record: written, and read back together with the record's results."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.testbed.schema import DTYPES, Columns, Testbed, Trace
from shared.errors import ConfigError
from shared.plain_data import dataclass_from

SAMPLES = "samples.npz"
LATER = {
    *("link_up_packets", "link_down_packets", "busy_core_s", "board_compute_j", "board_radio_j", "board_idle_j"),
}
"""Columns that earlier records lack."""


def write_samples(testbed: Testbed, folder: Path) -> Path:
    """Write `samples.npz` into the record's folder."""
    arrays: dict[str, Any] = {}
    for key, columns in testbed.columns.items():
        arrays |= {f"{key}/{each.name}": getattr(columns, each.name) for each in fields(Columns)}
    for number, trace in enumerate(testbed.traces):
        arrays |= {f"trace {number}/{each.name}": np.asarray(getattr(trace, each.name)) for each in fields(Trace)}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SAMPLES
    np.savez_compressed(path, **arrays)
    return path


def read_testbed(results: Mapping[str, Any], folder: Path) -> Testbed:
    """A record's `results` with the samples beside it.

    Raises:
        ConfigError: they are not of this form, or the samples are missing; the text says where.
    """
    testbed = dataclass_from(Testbed, results)
    path = folder / SAMPLES
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {run.key: _columns(arrays, run.key) for run in testbed.runs}
            numbers = sorted({name.partition("/")[0] for name in arrays.files if name.startswith("trace ")})
            traces = tuple(_trace(arrays, number) for number in numbers)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); run the testbed again") from None
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path}: does not belong to its record ({error}); run the testbed again") from None
    return replace(testbed, columns=columns, traces=traces)


def columns_of(rows: list[dict[str, Any]], timesteps: int) -> Columns:
    """Columns of samples by their names; what a row lacks is not known (0 for an integer, NaN else).

    Args:
        rows: a mapping for each sample; `confidence` is a list of at most T values.
        timesteps: T.
    """
    made: dict[str, NDArray[Any]] = {}
    for each in fields(Columns):
        dtype = DTYPES.get(each.name, "float32")
        if each.name == "confidence":
            filled = [[*row.get("confidence", ()), *[math.nan] * timesteps][:timesteps] for row in rows]
            made[each.name] = np.array(filled, dtype).reshape(len(rows), timesteps)
        else:
            missing = math.nan if dtype == "float32" else 0
            made[each.name] = np.array([row.get(each.name, missing) for row in rows], dtype)
    return Columns(**made)


def _columns(arrays: Any, key: str) -> Columns:
    found: dict[str, Any] = {}
    for each in fields(Columns):
        place = f"{key}/{each.name}"
        if each.name in LATER and place not in arrays:  # a column that is newer than the record: nobody knows it
            found[each.name] = np.full(len(arrays[f"{key}/sample"]), math.nan, np.float32)
        else:
            found[each.name] = arrays[place]
    return Columns(**found)


def _trace(arrays: Any, key: str) -> Trace:
    values = {each.name: arrays[f"{key}/{each.name}"] for each in fields(Trace)}
    return Trace(**{**values, "sample": int(values["sample"]), "label": int(values["label"])})
