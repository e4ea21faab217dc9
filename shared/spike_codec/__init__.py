"""Spikes to bytes and back, lossless. It needs numpy and no torch. docs/wire-format.md describes every byte.

codec.py         `SpikeCodec`: chooses the smallest form of each frame, and decodes every form
model.py         how likely each spike is, from what both sides already know
range_coder.py   spikes and their probabilities to bytes
sparse.py        the positions of the spikes
zstd.py          packed bits compressed with a dictionary
tables.py        what a bundle stores for the codec: integers only
"""

from shared.spike_codec.codec import SpikeCodec, Spikes
from shared.spike_codec.model import CodecContext
from shared.spike_codec.tables import CodecTables

__all__ = ["CodecContext", "CodecTables", "SpikeCodec", "Spikes"]
