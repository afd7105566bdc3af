"""Labels as files have them, numbers or names, as the numbers 0, 1, ... that all splits of a set share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from can.errors import DataError

RawLabels = Sequence[int | str | None]
_ORDER_SEED = np.uint64(0x43414E)  # another one is another order


class Numbered(NamedTuple):
    """The labels of each split, None where it has none; how many classes there are; their names, where known."""

    labels: Mapping[str, Int32[np.ndarray, " n"] | None]
    num_classes: int
    names: tuple[str, ...]


def number_labels(raw: Mapping[str, RawLabels], names: Sequence[str], where: str) -> Numbered:
    """Numbers the labels of all splits alike. A split without any label, as unpublished ones are, is unlabelled.

    Args:
      raw: of each split, for each image a class's number, or its name, or None or a negative number for no label.
      names: what the numbers are called; empty where nothing says so. Names as labels are numbered in sorted order.
      where: the set, for errors.

    Raises DataError for an image without a label among others, a number beyond `names`, or numbers beside names.
    """
    known = {split: [_known(label) for label in labels] for split, labels in raw.items()}
    values = {label for labels in known.values() for label in labels if label is not None}
    if texts := sorted(label for label in values if isinstance(label, str)):
        if len(texts) < len(values):
            number = next(label for label in values if not isinstance(label, str))
            raise DataError(f"{where} has both names and numbers as labels ({texts[0]!r}, {number}): use one kind")
        number_of, classes = {text: number for number, text in enumerate(texts)}, tuple(texts)
        known = {split: [None if a is None else number_of[str(a)] for a in labels] for split, labels in known.items()}
    else:
        classes = tuple(names)
    highest = max((int(label) for labels in known.values() for label in labels if label is not None), default=-1)
    if classes and highest >= len(classes):
        raise DataError(f"{where} has the label {highest}, and {len(classes)} names of classes: add the missing names")
    numbered = {split: _array(labels, f"{where} {split}") for split, labels in known.items()}
    return Numbered(numbered, len(classes) or highest + 1, classes)


def fixed_order(count: int) -> Int64[np.ndarray, " n"]:
    """A permutation of `count` records that is the same on every machine: sets often come sorted by class.

    Records are sorted by a hash of their number (the finaliser of splitmix64, Steele et al., 2014).
    """
    mixed = (np.arange(count, dtype=np.uint64) + _ORDER_SEED) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable").astype(np.int64)


def _known(label: int | str | None) -> int | str | None:
    return None if label is None or (isinstance(label, int) and label < 0) else label


def _array(labels: Sequence[int | str | None], where: str) -> np.ndarray | None:
    if all(label is None for label in labels):
        return None
    if None in labels:
        raise DataError(
            f"record {labels.index(None)} of {where} has no label, others have: label it, or take all without labels "
            "by #label="
        )
    return np.array(labels, np.int32)
