"""Capital letters in colour on photographs, in fonts and on photographs that were not seen in training."""

from __future__ import annotations

import string
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from can.recipes.debian import DebianPackage, unpacked
from can.recipes.offline_sets.build import SIZE, Collected, Image, Item
from can.recipes.offline_sets.scenery import LICENSE, Photograph, crop, random_numbers, read_photographs

FONTS = (
    DebianPackage(
        name="fonts-freefont-ttf",
        pool="pool/main/f/fonts-freefont/fonts-freefont-ttf_20120503-10_all.deb",
        sha256="4ca1c21ebc479198a3a5879d236c8317d6f7b2f1c403f7890e24c02eead05615",
        contents="usr/share/fonts/truetype/freefont",
    ),
    DebianPackage(
        name="fonts-liberation",
        pool="pool/main/f/fonts-liberation/fonts-liberation_1.07.4-11_all.deb",
        sha256="efd381517f958b01969343634ffcbdd60056be7779af84c6f53a005090430204",
        contents="usr/share/fonts/truetype/liberation",
    ),
    DebianPackage(
        name="fonts-dejavu-core",
        pool="pool/main/f/fonts-dejavu/fonts-dejavu-core_2.37-6_all.deb",
        sha256="8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76",
        contents="usr/share/fonts/truetype/dejavu",
    ),
)
# An installed folder may hold more than the package does.
_DEJAVU_CORE = {f"DejaVu{face}{bold}" for face in ("Sans", "SansMono", "Serif") for bold in ("", "-Bold")}
_DRAWINGS = {False: 4, True: 10}  # of each letter in each font, that trains or tests
_PALE = 110  # of 255: the least of a letter's red, green and blue


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`. FreeFont and Liberation imitate the same faces: both train."""
    photographs, origin = read_photographs(data_dir, scratch)
    with ExitStack() as stack:
        packages = [stack.enter_context(unpacked(package, data_dir, scratch)) for package in FONTS]
        items = []
        for package in packages:
            test = package is packages[-1]
            for path in sorted(package.folder.glob("*.ttf")):
                if path.stem.startswith("DejaVu") and path.stem not in _DEJAVU_CORE:
                    continue
                items += [
                    Item(letter, path.stem, draw(letter, path, index, photographs[int(test) :: 2]), test)
                    for letter in string.ascii_uppercase
                    for index in range(_DRAWINGS[test])
                ]
        return Collected(
            items,
            [*(package.origin for package in packages), origin],
            "GPL-3+ with font exception (FreeFont), GPL-2 with font exceptions (Liberation), "
            f"Bitstream Vera's, changes public domain (DejaVu); photographs: {LICENSE}",
            "class: capital letter; identity: font; DejaVu's fonts test on half of the photographs, the others' train",
            drop_near_copies=False,  # each is drawn anew
        )


def draw(letter: str, font: Path, index: int, photographs: Sequence[Photograph]) -> Image:
    """The letter in a pale colour on a crop of a photograph at half its brightness.

    Size, place, colour and crop depend on the other arguments alone.
    """
    rng = random_numbers(letter, font.stem, index)
    background = crop(photographs[int(rng.integers(len(photographs)))].pixels, rng)
    face = ImageFont.truetype(str(font), int(rng.integers(24, 31)))
    colour = tuple(map(int, rng.integers(_PALE, 256, 3)))
    image = PillowImage.fromarray(background // 2)
    shift = rng.integers(-2, 3, 2)
    place = (SIZE // 2 + int(shift[0]), SIZE // 2 + int(shift[1]))
    ImageDraw.Draw(image).text(place, letter, fill=colour, font=face, anchor="mm")
    return np.asarray(image)
