"""Readers of data sets for both the edge and training; numpy, and Pillow where pictures are compressed."""

from shared.binning import Binning
from shared.datasets.base import DataSet, DatasetInfo, Labels, Part, Piece, Pixels, Request, Split
from shared.datasets.registry import DATASETS, info, list_pieces, load, load_split, make_request, stream

__all__ = [
    "DATASETS",
    "Binning",
    "DataSet",
    "DatasetInfo",
    "Labels",
    "Part",
    "Piece",
    "Pixels",
    "Request",
    "Split",
    "info",
    "list_pieces",
    "load",
    "load_split",
    "make_request",
    "stream",
]
