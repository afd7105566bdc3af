"""Test sets that have only some of ImageNet's 1000 classes: which ones, as facts, and what follows for an argmax.

The facts lie beside this file: `imagenet_subsets.csv` (the 200 classes of ImageNet-A and of ImageNet-R, from their
authors' evaluation code) and `objectnet_classes.csv` (the 113 classes that ObjectNet's release maps to some of
ImageNet's, `objectnet_to_imagenet_1k.json`). A class is its WordNet id there and its place in TFDS's list here.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from can.recipes.make_imagenet import WNIDS

_FACTS = Path(__file__).parent
_LABEL = {wnid: label for label, wnid in enumerate(WNIDS)}


@functools.cache
def imagenet_subset(name: str) -> tuple[int, ...]:
    """The labels, in order, of the classes that "imagenet_a" or "imagenet_r" has images of."""
    with (_FACTS / "imagenet_subsets.csv").open() as file:
        return tuple(sorted(_LABEL[row["wnid"]] for row in csv.DictReader(file) if row["set"] == name))


@functools.cache
def objectnet_classes() -> dict[str, tuple[int, ...]]:
    """ImageNet's labels for each folder of ObjectNet that has some; the other 200 folders are not evaluated on."""
    with (_FACTS / "objectnet_classes.csv").open() as file:
        return {row["folder"]: tuple(_LABEL[wnid] for wnid in row["wnids"].split()) for row in csv.DictReader(file)}


def objectnet_labels() -> tuple[int, ...]:
    """Every label that some class of ObjectNet stands for, in order."""
    return tuple(sorted({label for labels in objectnet_classes().values() for label in labels}))


def argmax_of(
    logits: Float[np.ndarray, "batch classes"], subset: Sequence[int] | None = None
) -> Int[np.ndarray, " batch"]:
    """The label with the largest logit, among those of `subset` only if one is given."""
    if subset is None:
        return logits.argmax(axis=-1)
    return np.asarray(subset)[logits[:, list(subset)].argmax(axis=-1)]
