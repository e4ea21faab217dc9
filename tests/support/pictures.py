"""Pictures made for tests, and what is put into their files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from shared.picture_repair import PNG


def scan(side: int = 16) -> NDArray[np.uint8]:
    """A grey square with light and dark parts, uint8 [side, side], black and white among them."""
    y, x = np.mgrid[:side, :side] / (side - 1)
    return np.rint(255 * (0.5 + 0.5 * np.sin(6 * x) * np.cos(4 * y)) * (x + y > 0)).astype(np.uint8)


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png: bytes, chunk: bytes) -> bytes:
    """A PNG file with one more chunk after its header."""
    return png[:33] + chunk + png[33:]


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    """A JPEG file with an EXIF segment in front."""
    body = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def huge_png(side: int) -> bytes:
    """The header of a square RGB picture, and none of its pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return PNG + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
