"""Which of several like images is kept: the first, by where it is and not by which worker was faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Place(NamedTuple):
    """Where an image is. The order of places is by shard, then by number.

    Attributes:
      shard: its name.
      number: among the shard's images, from 0.
      path: of the shard.
      likeness: the image's perceptual hash.
    """

    shard: str
    number: int
    path: str
    likeness: int


def first_and_count(found: Iterable[tuple[Place, int]]) -> tuple[Place, int]:
    """The first place of all, and the sum of the counts; in any order, and of parts as of the whole."""
    places, counts = zip(*found, strict=True)
    return min(places), sum(counts)
