"""Whether a test set can be classified by what is learned from a training set; asked before anything is encoded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from absl import logging
from jaxtyping import Int

from can.data import ArrayImages, EncodedImages, ImageSet
from can.errors import DataError
from can.system import hosts

_NAMED = 5  # classes that an error names
_SAID: set[tuple[str, str]] = set()  # pairs of sets whose equal images were counted, by their fingerprints


def check_same_classes(what: str, train: ImageSet, test: ImageSet) -> None:
    """Raises DataError unless both sets are labelled alike and `train` has images of every class that `test` has.

    Labels are read until each class is found; of `test`, only where `train` lacks one. Of TFDS's sets that is the
    beginning of a split, as they are shuffled, and of the others no image is read for it.

    Args:
      what: the evaluation, as the error's subject: "a linear probe".
      train: what it learns from.
      test: what it is measured on.
    """
    if train.num_classes is None or train.num_classes != test.num_classes:
        raise DataError(
            f"{what} needs labelled sets of the same classes: {_named(train)} has "
            f"{train.num_classes or 'no'} classes, {_named(test)} has {test.num_classes or 'no'}"
        )
    if train.num_classes < 2:
        raise DataError(f"{what} needs two classes or more, {_named(train)} has one: is there one folder too many?")
    for label, (ours, theirs) in enumerate(zip(train.class_names, test.class_names, strict=False)):
        if ours != theirs:
            raise DataError(
                f"{what} needs sets that number their classes alike: "
                f"class {label} is {ours!r} in {_named(train)} and {theirs!r} in {_named(test)}"
            )
    _say_equal_images(train, test)
    lacking = _not_found(set(range(train.num_classes)), train)
    unlearned = sorted(lacking - _not_found(lacking, test))
    if unlearned:
        names = [train.class_names[label] if train.class_names else str(label) for label in unlearned]
        listed = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        raise DataError(
            f"{what} cannot learn what it is asked: {_named(test)} has images of {len(names)} "
            f"class{'es' if len(names) > 1 else ''} that {_named(train)} has none of ({listed}): "
            "take a larger or another part of the training images"
        )


def equal_images(train: ImageSet, test: ImageSet) -> int | None:
    """How many of the test images are training images, too, to the byte; None where that cannot be known.

    Of a large set in files that hold many images, that reads all of them, once.
    """
    ours, theirs = train.contents(), test.contents()
    if ours is None or theirs is None or isinstance(train, ArrayImages) != isinstance(test, ArrayImages):
        return None
    seen = set(ours)
    return sum(content in seen for content in theirs)


def _say_equal_images(train: ImageSet, test: ImageSet) -> None:
    """Once for each pair of sets, by one process."""
    if not hosts.is_first():
        return
    pair = train.fingerprint, test.fingerprint
    if pair not in _SAID:
        _SAID.add(pair)
        if count := equal_images(train, test):
            logging.warning("%d of the %d images of %s are in %s, too", count, len(test), _named(test), _named(train))


def labels_of(image_set: ImageSet) -> Int[np.ndarray, " n"]:
    """The labels of a labelled set in its order. Raises DataError if a record is damaged."""
    return np.fromiter(_labels(image_set), np.int32, len(image_set))


def _not_found(labels: set[int], image_set: ImageSet) -> set[int]:
    """Those of `labels` that no image of the set has."""
    left = set(labels)
    for label in _labels(image_set) if left else ():
        left.discard(label)
        if not left:
            break
    return left


def _labels(image_set: ImageSet) -> Iterator[int]:
    if isinstance(image_set, ArrayImages):
        assert image_set.labels is not None
        yield from image_set.labels.tolist()
        return
    assert isinstance(image_set, EncodedImages)
    for index in range(len(image_set)):
        label = image_set.label(index)
        assert label is not None
        yield label


def _named(image_set: ImageSet) -> str:
    return f"{image_set.name} {image_set.split}"
