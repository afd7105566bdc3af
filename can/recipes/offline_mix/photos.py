"""mate-backgrounds: photographs and drawn wallpapers, cropped at many scales; some photographs are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from can.data.decode import decode_rgb
from can.errors import DataError
from can.recipes.debian import DebianPackage
from can.recipes.offline_mix.duplicates import Picture, picture, thin_out

PACKAGE = DebianPackage(
    name="mate-backgrounds",
    pool="pool/main/m/mate-backgrounds/mate-backgrounds_1.26.0-1_all.deb",
    sha256="7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
    contents="usr/share/backgrounds/mate",
)
LICENSE = "GPL-2+; desktop/Ubuntu-Mate-* CC-BY-SA-4.0 (authors of each: /usr/share/doc/mate-backgrounds/copyright)"
_PHOTOGRAPHS = "nature/"  # the other folders hold wallpapers, some of them variants of one design
_HELD_OUT = 3  # one photograph in so many is kept out of the mix
_SIDE = 1280  # pixels kept of the longer side: 40 times the width of a view
_MAX_BYTES = 8_000_000  # of a file: the larger ones are larger copies of the others


def read_photos(folder: Path) -> list[Picture]:
    """Every picture of the unpacked package at 1280 pixels or less, in the order of the paths; each is a family.

    Raises:
      DataError: a file is damaged.
    """
    photos = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png")):
        if path.stat().st_size > _MAX_BYTES:
            continue
        data = path.read_bytes()
        pixels = decode_rgb(data, str(path))
        scale = min(1.0, _SIDE / max(pixels.shape[:2]))
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        name = path.relative_to(folder).as_posix()
        photos.append(picture(name, (name, ""), data, pixels))
    return photos


class PhotoSplit(NamedTuple):
    """What the mix is made of, the photographs that it never shows, and how many near copies neither has."""

    mix: list[Picture]
    held_out: list[Picture]
    dropped: Counter[str]


def split_photos(found: Sequence[Picture]) -> PhotoSplit:
    """Parts the pictures once and for all, by their content alone; near copies are dropped before.

    Raises DataError if there are no photographs to hold out.
    """
    kept, dropped = thin_out(found, per_family=1, per_folder=len(found), per_likeness=1)
    held_out = [photo for photo in kept if photo.path.startswith(_PHOTOGRAPHS)][::_HELD_OUT]
    if not held_out:
        raise DataError(f"{PACKAGE.name} has no photographs in {_PHOTOGRAPHS}: its version is another one")
    names = {photo.path for photo in held_out}
    return PhotoSplit([photo for photo in kept if photo.path not in names], held_out, dropped)
