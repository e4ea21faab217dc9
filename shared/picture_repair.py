"""Copies of PNG and JPEG files with the pixels alone: metadata that are damaged or too large say nothing about them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
END_OF_JPEG = b"\xff\xd9"
START_OF_SCAN = 0xDA
TRANSPARENCY = b"tRNS"
PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", TRANSPARENCY, b"IDAT", b"IEND"})
PIXEL_SEGMENTS = frozenset({0xE0, 0xEE})
"""JFIF and Adobe: they say what the colours are."""


def copies(raw: bytes, *, torn: bool) -> Iterator[tuple[bytes, bool]]:
    """Files to try instead of one that cannot be read, and whether each lacks its end; first with the orientation.

    With `torn` a JPEG that breaks off gets an end: what is missing is grey then.
    """
    if raw.startswith(PNG):
        for kept in (PIXEL_CHUNKS | {b"eXIf"}, PIXEL_CHUNKS, PIXEL_CHUNKS - {TRANSPARENCY}):
            yield PNG + b"".join(chunk for name, chunk in _chunks(raw) if name in kept), False
    elif raw.startswith(JPEG):
        ends = [b""] + ([END_OF_JPEG] if torn else [])
        for end in ends:
            for with_exif in (True, False):
                yield b"".join(_segments(raw, with_exif=with_exif)) + end, bool(end)


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(PNG)
    while at + 8 <= len(raw):
        length, name = struct.unpack_from(">I4s", raw, at)
        yield name, raw[at : at + length + 12]
        at += length + 12


def _segments(raw: bytes, *, with_exif: bool) -> Iterator[bytes]:
    """The start, the segments up to the first scan that are kept, and all from there on."""
    yield JPEG
    at = len(JPEG)
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] != START_OF_SCAN:
        if raw[at + 1] == 0xFF:  # filled up
            at += 1
            continue
        kind, (length,) = raw[at + 1], struct.unpack_from(">H", raw, at + 2)
        segment = raw[at : at + 2 + length]
        is_metadata = 0xE0 <= kind <= 0xEF or kind == 0xFE
        is_exif = kind == 0xE1 and segment[4:8] == b"Exif"
        if not is_metadata or kind in PIXEL_SEGMENTS or (with_exif and is_exif):
            yield segment
        at += 2 + length
    yield raw[at:]
