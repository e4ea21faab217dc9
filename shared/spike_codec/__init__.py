"""Spikes to bytes and back, lossless. numpy, no torch: the edge may run without it. Every byte: docs/wire-format.md.

codec.py         `SpikeCodec`: chooses the smallest form of each frame, and reads all of them
model.py         how likely each spike is, given what both sides know already
range_coder.py   spikes and their likelihoods to bytes
sparse.py        the positions of the spikes
zstd.py          packed bits compressed with a dictionary
tables.py        what a bundle stores for all this: integers only
"""

from shared.spike_codec.codec import SpikeCodec, Spikes
from shared.spike_codec.model import Past
from shared.spike_codec.tables import CodecTables

__all__ = ["CodecTables", "Past", "SpikeCodec", "Spikes"]
