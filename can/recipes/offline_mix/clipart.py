"""openclipart-png: read once, trimmed and shrunk, with what is needed to find duplicates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from can.data.cut_short import png_with_end
from can.errors import DataError
from can.recipes.cutouts import premultiplied, trimmed
from can.recipes.debian import DebianPackage
from can.recipes.offline_mix.duplicates import Picture, picture

PACKAGE = DebianPackage(
    name="openclipart-png",
    pool="pool/main/o/openclipart/openclipart-png_0.18+dfsg-19_all.deb",
    sha256="f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    contents="usr/share/openclipart/png",
)
LICENSE = "public domain (Creative Commons Public Domain Dedication)"
CAPS = dict(per_family=12, per_folder=120, per_likeness=2)  # of `thin_out`: which pictures the mix takes
_SIDE = 96  # pixels kept of the longer side: three times what a view shows
_MAX_PIXELS = 25_000_000  # 16 of the 6,900 pictures are larger, up to 623 megapixels; decoded they would fill memory


def read_pictures(folder: Path) -> Iterator[Picture]:
    """Every picture of the unpacked package that fits in memory, trimmed, shrunk to 96 pixels, in order of the paths.

    Raises:
      DataError: a file is damaged.
    """
    # The package links each picture into several folders: a link is never a picture of its own.
    paths = sorted(path for path in folder.rglob("*.png") if not path.is_symlink())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from (read for read in pool.map(lambda path: _read(folder, path), paths) if read is not None)


def family_of(path: str) -> tuple[str, str]:
    """`shapes/stars/star_05pt02step.png` -> ("shapes/stars", "star")."""
    folder, _, name = path.rpartition("/")
    word = re.match(r"[a-z]*", name.lower())
    return folder, word.group() if word else ""


def _read(folder: Path, path: Path) -> Picture | None:
    data = path.read_bytes()
    # PNG: width and height are the big-endian words at 16 and 20.
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    if width * height > _MAX_PIXELS:
        return None
    decoded = None if png_with_end(data) is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise DataError(f"{path} is damaged: delete the package's .deb file, and it is fetched again")
    pixels = trimmed(premultiplied(decoded))
    if pixels is None:
        return None  # nothing to see
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    name = path.relative_to(folder).as_posix()
    return picture(name, family_of(name), data, pixels.copy())  # a copy frees the whole picture
