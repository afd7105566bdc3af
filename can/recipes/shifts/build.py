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
from can.recipes.shifts.adversarial import mistaken
from can.recipes.shifts.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from can.recipes.shifts.pose import posed
from can.recipes.shifts.recapture import recaptured
from can.recipes.shifts.rendition import rendered
from can.recipes.shifts.sketch import sketched

VERSION = "4"  # of the rules: another one makes the sets anew
SEED = 2022
CORRUPTED_IMAGES = 1000  # the first test images, each under every corruption and severity

Splits = dict[str, tuple[Images, Labels]]
Load = Callable[[Path], Mapping[str, ImageSet]]


def shifted_sets(base: str, load: Load) -> dict[str, Callable[[Path], dict[str, ArrayImages]]]:
    """Loaders of the shifted sets of the set `base`, by name: `<base>_v2`, `<base>_sketch`, ...

    Each has the split `test`; `<base>_corruptions` has one split a kind of damage instead, the first 1,000 test images
    at severity 1, then the same at 2, and so on to 5. `load` returns the splits of the base, labelled images of one
    small size.
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
    train, test = splits["train"], splits["test"]
    assert isinstance(train, ArrayImages) and isinstance(test, ArrayImages)
    facts = {"base": base, "base_fingerprint": test.fingerprint, "seed": SEED, "version": VERSION}
    array_store.write(target, _RULES[shift](train, test), test.class_names, facts)


def _all_images(rule: Callable[[Images, int], Images], train: ArrayImages, test: ArrayImages) -> Splits:
    del train
    assert test.labels is not None
    return {"test": (rule(np.asarray(test.images), SEED), test.labels)}


def _adversarial(train: ArrayImages, test: ArrayImages) -> Splits:
    assert test.labels is not None
    images = np.asarray(test.images)
    wrong = mistaken(train, images, test.labels, SEED)
    return {"test": (images[wrong], test.labels[wrong])}


def _corruptions(train: ArrayImages, test: ArrayImages) -> Splits:
    del train
    assert test.labels is not None
    images, labels = np.asarray(test.images[:CORRUPTED_IMAGES]), test.labels[:CORRUPTED_IMAGES]
    return {
        name: (
            np.concatenate([corrupted(images, name, severity, SEED) for severity in SEVERITIES]),
            np.tile(labels, len(SEVERITIES)),
        )
        for name in CORRUPTIONS
    }


_RULES: dict[str, Callable[[ArrayImages, ArrayImages], Splits]] = {
    "v2": partial(_all_images, recaptured),
    "corruptions": _corruptions,
    "sketch": partial(_all_images, sketched),
    "rendition": partial(_all_images, rendered),
    "pose": partial(_all_images, posed),
    "adversarial": _adversarial,
}
