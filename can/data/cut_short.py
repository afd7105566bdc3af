"""Whether a JPEG or PNG is whole. Decoders disagree: some fill what is missing with grey, some ask for an end marker.

Files that merely lack their end marker are whole, and get it. All of this is for files that a strict decoder complains
of; sound ones never come here.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"

_PNG_END = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FRAMES = [kind for kind in range(0xC0, 0xD0) if kind not in (0xC4, 0xC8, 0xCC)]
_PROGRESSIVE = (0xC2, 0xCA)  # the frames whose coefficients come in several scans
# Of a segment; none are a byte of a scan (0x00), filling (0xff), and the markers that stand alone.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_MOST_SEGMENTS = 1 << 16  # there may be half a gigabyte of empty ones
_PIECE = 1 << 20  # bytes that are unpacked at a time


def jpeg_with_end(data: bytes) -> bytes | None:
    """A JPEG up to its end marker, or with the one that it lacks; None if a scan or a part of a segment is missing.

    A segment that holds a thumbnail, which has an end marker too, is jumped over. A scan that is cut is not found out
    here: its decoder tells.
    """
    progressive, components, scans, end = False, b"", [], len(data)
    for kind, start, stop in _segments(data):
        if stop > len(data):
            return None
        if kind == _END_OF_IMAGE:
            end = start
            break
        if kind in _FRAMES:
            progressive, components = kind in _PROGRESSIVE, data[start + 6 : stop : 3]
        elif kind == _START_OF_SCAN:
            scans.append(data[start:stop])
    return data[:end] + JPEG_END if _all_coefficients(components, scans, progressive) else None


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width that a JPEG's frame states; None if it has none."""
    for kind, start, stop in _segments(data):
        if kind in _FRAMES and start + 5 <= min(stop, len(data)):
            height, width = struct.unpack_from(">HH", data, start + 1)
            return height, width
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, first byte behind the length, and end of each segment; of the end marker, its kind and place."""
    place = 2
    for _ in range(_MOST_SEGMENTS):
        if (marker := _MARKER.search(data, place)) is None:
            return
        place, kind = marker.start(), data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            yield kind, place, place + 2
            return
        stop = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield kind, place + 4, stop
        place = max(stop, place + 4)


def _all_coefficients(components: bytes, scans: list[bytes], progressive: bool) -> bool:
    """Whether the scans have all components of the frame: of a progressive JPEG all 64 coefficients, to the last bit.

    Other JPEGs may have a scan for each component, too.
    """
    complete: dict[int, set[int]] = {component: set() for component in components}
    for header in scans:
        there = header[1 : 1 + 2 * header[0] : 2] if header else b""
        first, last, bits = header[-3:] if len(header) >= 4 else (0, -1, 0)
        if not progressive:
            first, last, bits = 0, 63, 0
        for component in there:
            found = complete.setdefault(component, set())
            if bits & 15 == 0:  # no bit of these coefficients is left for a later scan
                found.update(range(first, last + 1))
    return bool(complete) and all(len(found) == 64 for found in complete.values())


def png_with_end(data: bytes) -> bytes | None:
    """A PNG up to its end chunk, or with the one that it lacks; None if pixels are missing."""
    place, pixels = len(PNG_START), []
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        if not kind.isalpha():  # no chunk; there may be half a gigabyte of zeros
            break
        stop = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if kind == b"IEND":
            return data
        if kind == b"IDAT":
            pixels.append(data[place + 8 : stop - 4])
        if stop > len(data):
            break
        place = stop
    return data[:place] + _PNG_END if _is_whole_stream(b"".join(pixels)) else None


def _is_whole_stream(packed: bytes) -> bool:
    """Whether a zlib stream has its end; unpacked in pieces, for it may be a bomb."""
    stream = zlib.decompressobj()
    try:
        while packed and not stream.eof:
            stream.decompress(packed, _PIECE)
            packed = stream.unconsumed_tail
    except zlib.error:
        return False
    return stream.eof
