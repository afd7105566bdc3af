"""Drawn letters of Debian's fonts: `glyphs` (which letter, in unseen fonts), `scripts` (which, of unseen letters)."""

from __future__ import annotations

import hashlib
import string
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from can.offline_data.debian import DebianPackage, Unpacked, unpacked
from can.offline_data.offline_sets.build import SIZE, Collected, Image, Item

_FREE = DebianPackage(
    name="fonts-freefont-ttf",
    pool="pool/main/f/fonts-freefont/fonts-freefont-ttf_20120503-10_all.deb",
    sha256="4ca1c21ebc479198a3a5879d236c8317d6f7b2f1c403f7890e24c02eead05615",
    contents="usr/share/fonts/truetype/freefont",
)
_LIBERATION = DebianPackage(
    name="fonts-liberation",
    pool="pool/main/f/fonts-liberation/fonts-liberation_1.07.4-11_all.deb",
    sha256="efd381517f958b01969343634ffcbdd60056be7779af84c6f53a005090430204",
    contents="usr/share/fonts/truetype/liberation",
)
_DEJAVU = DebianPackage(
    name="fonts-dejavu-core",
    pool="pool/main/f/fonts-dejavu/fonts-dejavu-core_2.37-6_all.deb",
    sha256="8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76",
    contents="usr/share/fonts/truetype/dejavu",
)
# An installed folder may hold more than the package does.
_DEJAVU_CORE = {f"DejaVu{face}{bold}" for face in ("Sans", "SansMono", "Serif") for bold in ("", "-Bold")}
_FREE_LICENSE = "GPL-3+ with font exception (FreeFont)"
_LIBERATION_LICENSE = "GPL-2 with font exceptions (Liberation)"
_DEJAVU_LICENSE = "Bitstream Vera's, changes public domain (DejaVu)"
_DRAWINGS = 4  # of each letter in each font
_MISSING = "\U0010fffe"  # no character: its drawing is that of every letter a font lacks
_SCRIPTS = (
    *("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI"),
    *("GUJARATI", "GURMUKHI", "TAMIL", "MALAYALAM", "ETHIOPIC", "CHEROKEE", "THAI", "SINHALA", "HIRAGANA", "KATAKANA"),
)


def collect_glyphs(data_dir: Path, scratch: Path) -> Collected:
    """See `build`. FreeFont and Liberation imitate the same faces, so they train together."""
    with _fonts(data_dir, scratch, _FREE, _LIBERATION, _DEJAVU) as packages:
        items = [
            Item(letter, path.stem, drawn, test=package is packages[-1])
            for package in packages
            for path in sorted(package.folder.glob("*.ttf"))
            if not path.stem.startswith("DejaVu") or path.stem in _DEJAVU_CORE
            for letter in string.ascii_uppercase
            for index in range(_DRAWINGS)
            if (drawn := draw(letter, path, index)) is not None
        ]
        return Collected(
            items,
            [package.origin for package in packages],
            f"{_FREE_LICENSE}, {_LIBERATION_LICENSE}, {_DEJAVU_LICENSE}",
            "class: capital letter; identity: font; DejaVu's fonts test, FreeFont's and Liberation's train",
            drop_near_copies=False,
        )


def collect_scripts(data_dir: Path, scratch: Path) -> Collected:
    """See `can.offline_data.offline_sets.build`."""
    with _fonts(data_dir, scratch, _FREE, _DEJAVU) as packages:
        items = []
        for package in packages:
            for path in sorted(package.folder.glob("*[sf].ttf")):  # the upright, regular Sans and Serif
                for letter in map(chr, range(0x41, 0x3100)):
                    script = unicodedata.name(letter, "").split(" ")[0]
                    if script not in _SCRIPTS or not unicodedata.category(letter).startswith("L"):
                        continue
                    if unicodedata.decomposition(letter).startswith("<"):
                        continue  # a form of other letters, such as a ligature
                    drawn = draw(letter, path, 0)
                    if drawn is not None:
                        base = unicodedata.normalize("NFKD", letter)[0].lower()
                        items.append(Item(script.lower(), base, drawn))
        return Collected(
            items,
            [package.origin for package in packages],
            f"{_FREE_LICENSE}, {_DEJAVU_LICENSE}",
            "class: script; identity: letter without case and accents, in all fonts",
        )


def draw(letter: str, font: Path, index: int) -> Image | None:
    """The letter at a size, a place and in two greys that a hash of the arguments gives; None if the font lacks it."""
    seed = hashlib.sha256(f"{letter} {font.stem} {index}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
    face = ImageFont.truetype(str(font), int(rng.integers(18, 27)))
    mask = face.getmask(letter)
    if not mask.getbbox() or bytes(mask) == bytes(face.getmask(_MISSING)):
        return None
    if max(mask.size) > SIZE:
        face = face.font_variant(size=int(face.size * SIZE / max(mask.size)))
    dark, light = int(rng.integers(0, 90)), int(rng.integers(165, 256))
    image = PillowImage.new("L", (SIZE, SIZE), light)
    shift = rng.integers(-2, 3, 2)
    place = (SIZE // 2 + int(shift[0]), SIZE // 2 + int(shift[1]))
    ImageDraw.Draw(image).text(place, letter, fill=dark, font=face, anchor="mm")
    return np.repeat(np.asarray(image)[..., None], 3, axis=2)


@contextmanager
def _fonts(data_dir: Path, scratch: Path, *packages: DebianPackage) -> Iterator[list[Unpacked]]:
    with ExitStack() as stack:
        yield [stack.enter_context(unpacked(package, data_dir, scratch)) for package in packages]
