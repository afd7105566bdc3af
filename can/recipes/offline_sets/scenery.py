"""Photographs of endless-sky: `landscapes` (of what kind, in unseen ones), `photographs` (which, in unseen halves)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from can.data.decode import decode_rgb
from can.recipes.debian import DebianPackage, unpacked
from can.recipes.offline_sets.build import SIZE, Collected, Image, Item
from can.recipes.offline_sets.mixed import mix_views

PACKAGE = DebianPackage(
    name="endless-sky-data",
    pool="pool/main/e/endless-sky/endless-sky-data_0.9.8-1.2_all.deb",
    sha256="e45835e05a11e84bb1a890a0ded390246a53b8318f21a25925aa70fa54f80c13",
    contents="usr/share/games/endless-sky/images/land",
)
LICENSE = "public domain, CC-BY-SA-3.0 and CC-BY-SA-4.0 (of each file: the package's copyright file)"
# The kinds that files are named by. The other files have the names of their photographers.
_KINDS = {
    "city": ("city",),
    "desert": ("badlands", "canyon", "desert", "dune"),
    "fields": ("fields", "forest", "hills"),
    "lava": ("lava",),
    "mountains": ("mountain", "valley"),
    "sky": ("fog", "sky"),
    "snow": ("snow",),
    "water": ("beach", "sea", "water"),
}
_CLASSES = {kind: name for name, kinds in _KINDS.items() for kind in kinds}
_CROPS = 8  # of a photograph, in `landscapes`
_CELL = 120  # pixels: the squares that a photograph falls into, in `photographs`
_VIEWS = 4  # of a cell


class Photograph(NamedTuple):
    """A file's name without its ending, and its pixels."""

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]


class Photographs(NamedTuple):
    """The package's photographs in the order of their names, and the package's file."""

    photographs: list[Photograph]
    origin: str


def read_photographs(data_dir: Path, scratch: Path) -> Photographs:
    """All of the package; raises DataError if it cannot be had or one is damaged."""
    with unpacked(PACKAGE, data_dir, scratch) as package:
        paths = sorted(package.folder.glob("*.jpg"))
        read = [Photograph(path.stem, decode_rgb(path.read_bytes(), str(path))) for path in paths]
        return Photographs(read, package.origin)


def collect_landscapes(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`."""
    found, origin = read_photographs(data_dir, scratch)
    items = []
    for photograph in found:
        kind = _kind_of(photograph.name)
        if kind in _CLASSES:
            rng = random_numbers(photograph.name)
            crops = [crop(photograph.pixels, rng, smallest=0.8) for _ in range(_CROPS)]
            items += [Item(_CLASSES[kind], photograph.name, image) for image in crops]
    return Collected(
        items,
        [origin],
        LICENSE,
        f"class: kind, by the file's name; identity: photograph, of which there are {_CROPS} crops",
        seen=mix_views(data_dir),
    )


def collect_photographs(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`; those that `landscapes` leaves out."""
    found, origin = read_photographs(data_dir, scratch)
    items = []
    for name, pixels in found:
        if _kind_of(name) in _CLASSES:
            continue
        rng = random_numbers(name)
        height, width = pixels.shape[:2]
        for row, column in np.ndindex(height // _CELL, width // _CELL):
            cell = pixels[row * _CELL : (row + 1) * _CELL, column * _CELL : (column + 1) * _CELL]
            test = column >= width // _CELL / 2
            items += [Item(name, f"{name} {row} {column}", crop(cell, rng), test) for _ in range(_VIEWS)]
    return Collected(
        items,
        [origin],
        LICENSE,
        f"class: photograph; identity: square of {_CELL} pixels; the left halves train, the right halves test",
        seen=mix_views(data_dir),
    )


def crop(pixels: UInt8[np.ndarray, "height width 3"], rng: np.random.Generator, smallest: float = 0.5) -> Image:
    """A square of the picture's height or, at least, the share `smallest` of it, anywhere in the picture."""
    height, width = pixels.shape[:2]
    side = int(rng.integers(int(smallest * height), min(height, width) + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in (height, width))
    return cv2.resize(pixels[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def random_numbers(*words: object) -> np.random.Generator:
    """Numbers that depend on the words alone."""
    seed = hashlib.sha256(" ".join(map(str, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:8], "big"))


def _kind_of(name: str) -> str:
    return name.rstrip("0123456789").split("-")[0].rstrip("0123456789")
