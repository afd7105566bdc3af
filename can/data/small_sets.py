"""Which encoded sets are decoded once into memory-mapped arrays: those of few, small images of one size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from absl import logging

from can.data import array_store
from can.data.decode import UnequalSizes, decode_all, image_size
from can.data.image_set import EncodedImages, ImageSet, sha256_of
from can.data.prepared import prepare_once

MAX_SIDE = 64
MAX_BYTES = 2 << 30  # of all the splits' pixels


def decode_if_small(splits: Mapping[str, EncodedImages], data_dir: Path) -> Mapping[str, ImageSet]:
    """The same splits as `ArrayImages`, decoded under `data_dir` on the first call, or as they are if not small.

    Small means: the first image has sides of at most `MAX_SIDE` pixels, all images have its size, and together they
    take at most `MAX_BYTES`. Raises DataError if the first image of a split, or any of a small set, is damaged.
    """
    if not all(_looks_small(images) for images in splits.values()):
        return splits
    first = next(iter(splits.values()))
    key = sha256_of(*((split, images.fingerprint) for split, images in splits.items()))[:16]
    label = "".join(letter if letter.isalnum() else "-" for letter in first.name).strip("-")[-40:]
    folder = data_dir / "decoded" / f"{label}-{key}"

    def build(target: Path) -> None:
        logging.info("decoding %s into %s", first.name, folder)
        array_store.write(target, {split: decode_all(images) for split, images in splits.items()}, first.class_names)

    try:
        return array_store.read(prepare_once(folder, build), first.name)
    except UnequalSizes:
        return splits


def _looks_small(images: EncodedImages) -> bool:
    height, width = image_size(images[0][0], images.describe(0))
    return max(width, height) <= MAX_SIDE and 3 * width * height * len(images) <= MAX_BYTES
