"""Which encoded sets are decoded once into memory-mapped arrays: those of few, small images of one size."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from absl import logging

from can.data import array_store
from can.data.decode import UnequalSizes, decode_all, image_size
from can.data.image_set import EncodedImages, ImageSet, sha256_of
from can.data.prepared import prepare_once
from can.errors import DataError

MAX_SIDE = 64
MAX_BYTES = 2 << 30  # of all the splits' pixels


class Undecoded(EncodedImages):
    """A split that could not be decoded with the others of its set: see `check_decoded`."""


def decode_if_small(splits: Mapping[str, EncodedImages], data_dir: Path) -> Mapping[str, ImageSet]:
    """The same splits as `ArrayImages`, decoded under `data_dir` on the first call, or as they are if not small.

    Small means: the first image has sides of at most `MAX_SIDE` pixels, all images have its size, and together they
    take at most `MAX_BYTES`. A split with a damaged image is `Undecoded`: who asks for another one need not care.
    Raises DataError if all are damaged.
    """
    small = {split: _looks_small(images) for split, images in splits.items()}
    if not all(small.values()):
        return splits
    first = next(iter(splits.values()))
    key = sha256_of(*((split, images.fingerprint) for split, images in splits.items()))[:16]
    label = "".join(letter if letter.isalnum() else "-" for letter in first.name).strip("-")[-40:]
    folder = data_dir / "decoded" / f"{label}-{key}"

    def build(target: Path) -> None:
        logging.info("decoding %s into %s", first.name, folder)
        decoded, damaged = {}, []
        for split, images in splits.items():
            try:
                decoded[split] = decode_all(images)
            except UnequalSizes:
                raise
            except DataError as error:
                damaged.append(error)
        if not decoded:
            raise damaged[0]
        labelled = [images for images in splits.values() if images.num_classes is not None]
        names, count = (labelled[0].class_names, labelled[0].num_classes) if labelled else ((), None)
        array_store.write(target, decoded, names, {"num_classes": count} if labelled else {})

    try:
        arrays = array_store.read(prepare_once(folder, build), first.name)
    except UnequalSizes:
        return splits
    return {split: arrays[split] if split in arrays else _undecoded(images) for split, images in splits.items()}


def check_decoded(images: ImageSet) -> None:
    """Raises DataError, with what is wrong, if a damaged image is among those of a set that is asked for."""
    if isinstance(images, Undecoded):
        with contextlib.suppress(UnequalSizes):
            decode_all(images)


def _undecoded(images: EncodedImages) -> Undecoded:
    return Undecoded(**{field.name: getattr(images, field.name) for field in dataclasses.fields(images)})


def _looks_small(images: EncodedImages) -> bool:
    """As far as the first image tells, and if it can be read."""
    try:
        height, width = image_size(images[0][0], images.describe(0))
    except DataError:
        return True
    return max(width, height) <= MAX_SIDE and 3 * width * height * len(images) <= MAX_BYTES
