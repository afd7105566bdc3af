"""Which pictures are copies, near-copies or too many of one kind."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8

from can.recipes.perceptual_hash import perceptual_hash

NEAR = 3  # bits of the perceptual hash, of 64


@dataclass(frozen=True)
class Picture:
    """A source's picture, and the keys that its duplicates share.

    Attributes:
      path: relative to the source's folder.
      family: what series of like pictures share: the folder, and a part of the name.
      sha256: of the file.
      perceptual: 64-bit hash that near-identical pictures share but for a few bits.
      pixels: RGB, or RGBA with the colours multiplied by alpha.
    """

    path: str
    family: tuple[str, str]
    sha256: str
    perceptual: int
    pixels: UInt8[np.ndarray, "height width channels"]


def picture(path: str, family: tuple[str, str], data: bytes, pixels: UInt8[np.ndarray, "h w channels"]) -> Picture:
    """A `Picture` with its keys computed; `data` is the content of the file."""
    return Picture(path, family, hashlib.sha256(data).hexdigest(), perceptual_hash(pixels), pixels)


def thin_out(
    pictures: Iterable[Picture], *, per_family: int, per_folder: int, per_likeness: int
) -> tuple[list[Picture], Counter[str]]:
    """The pictures to keep, and how many were dropped for which reason.

    Pictures are taken in the order of their content hash, so that a cap keeps a fair sample of a family.

    Args:
      pictures: all of them.
      per_family: most pictures of one family (folder and first word of the name).
      per_folder: most pictures of one folder.
      per_likeness: most pictures within `NEAR` bits of one another's perceptual hash.
    """
    kept: list[Picture] = []
    hashes = np.zeros(0, np.uint64)
    counts: Counter[Hashable] = Counter()
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    for picture in sorted(pictures, key=lambda picture: picture.sha256):
        own = np.uint64(picture.perceptual)
        if picture.sha256 in seen:
            dropped["copies"] += 1
        elif counts[picture.family] >= per_family:
            dropped["over the family cap"] += 1
        elif counts[picture.family[0]] >= per_folder:
            dropped["over the folder cap"] += 1
        elif np.count_nonzero(np.bitwise_count(hashes ^ own) <= NEAR) >= per_likeness:
            dropped["near copies"] += 1
        else:
            kept.append(picture)
            hashes = np.append(hashes, own)
            counts.update((picture.family, picture.family[0]))
        seen.add(picture.sha256)
    return kept, dropped


def first_of_each(images: Iterable[UInt8[np.ndarray, "height width 3"]]) -> Int[np.ndarray, " unique"]:
    """The indices, in order, of the images that no earlier image equals."""
    first: dict[bytes, int] = {}
    for index, image in enumerate(images):
        first.setdefault(hashlib.sha256(image.tobytes()).digest(), index)
    return np.array(list(first.values()))
