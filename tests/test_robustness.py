"""Robustness on hand-made cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from can.data import ArrayImages
from can.errors import DataError, UserError
from can.evals import robustness
from can.evals.corruption_error import ALEXNET_ERROR, mean_corruption_error
from can.evals.robustness import ShiftedSet


def image_set(labels, *, size=2, name="made"):
    """Images whose pixels all hold the image's number."""
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 3), np.uint8)
    return ArrayImages(name, "test", 4, (), name, images, np.array(labels, np.int32))


PREDICTED = np.array([0, 1, 2, 3, 0])  # of image 0, 1, ...: and the class below it comes second


def logits(images):
    """One-hot of the class that PREDICTED gives the image, which its pixels tell."""
    first = PREDICTED[np.minimum(images[:, 0, 0, 0], 4)]
    rows = np.arange(len(images))
    out = np.zeros((len(images), 4), np.float32)
    out[rows, (first - 1) % 4] = 1
    out[rows, first] = 2
    return out


def evaluate(*sets, **settings):
    return robustness.evaluate(logits, sets, image_size=2, batch_size=2, **settings)


def test_top1_counts_every_image_once_also_in_a_short_last_batch():
    assert evaluate(ShiftedSet("a", image_set([0, 1, 0, 0, 0])))["a"] == {"top1": 3 / 5, "n": 5}


def test_reals_images_without_labels_are_skipped_and_any_label_is_right():
    right = [(0, 3), (), (1,), (1, 2, 3), ()]
    assert evaluate(ShiftedSet("real", image_set([0] * 5), right=right))["real"] == {"top1": 2 / 3, "n": 3}


def test_the_argmax_of_a_subset_ignores_the_other_classes():
    """Without class 0, image 0 falls to its second, class 3; without it and 3 image 3 falls to class 2."""
    sets = image_set([3, 1, 2, 2, 3])
    found = evaluate(ShiftedSet("a", sets, subsets={"without_0": (1, 2, 3), "only_1_2": (1, 2), "all": None}))["a"]
    assert found == {"without_0": 4 / 5, "only_1_2": 3 / 5, "all": 2 / 5, "n": 5}


def test_a_class_may_stand_for_several_and_those_that_stand_for_none_are_left_out():
    """ObjectNet's rule: its class 0 is the classifier's 0 or 1, its class 1 is 2, its class 2 is not evaluated."""
    stands_for = [(0, 1), (2,), (), ()]
    found = evaluate(ShiftedSet("o", image_set([0, 0, 0, 1, 2]), stands_for=stands_for))["o"]
    assert found == {"top1": 2 / 4, "n": 4}


def test_the_border_is_cut_off_first():
    images = np.full((1, 6, 6, 3), 255, np.uint8)
    images[:, 2:4, 2:4] = 1
    framed = ArrayImages("o", "test", 4, (), "framed", images, np.array([1], np.int32))
    assert evaluate(ShiftedSet("o", framed, border=2))["o"]["top1"] == 1


def test_an_interrupted_evaluation_classifies_no_set_twice(tmp_path):
    first, second = ShiftedSet("a", image_set([0, 1])), ShiftedSet("b", image_set([1, 1], name="other"))
    evaluate(first, cache_dir=tmp_path)
    seen = []

    def counted(images):
        seen.append(len(images))
        return logits(images)

    found = robustness.evaluate(counted, [first, second], image_size=2, batch_size=2, cache_dir=tmp_path)
    assert found == {"a": {"top1": 1.0, "n": 2}, "b": {"top1": 0.5, "n": 2}}
    assert seen == [2]
    robustness.evaluate(
        counted, [first], image_size=2, batch_size=2, cache_dir=tmp_path, model_fingerprint="another model"
    )
    assert seen == [2, 2]


def test_broken_input_is_one_clear_error():
    with pytest.raises(DataError, match="no labels"):
        evaluate(ShiftedSet("a", image_set([0]).without_labels()))
    with pytest.raises(UserError, match="not finite"):
        robustness.evaluate(
            lambda images: np.full((2, 4), np.nan), [ShiftedSet("a", image_set([0]))], image_size=2, batch_size=2
        )


def test_the_mean_corruption_error_by_hand():
    accuracies = {"fog": [0.8, 0.6], "snow": [0.5, 0.1]}
    assert mean_corruption_error(accuracies, {"fog": 0.6, "snow": 0.7}) == pytest.approx((0.5 + 1.0) / 2)
    alexnet = {kind: [1 - error] * 5 for kind, error in ALEXNET_ERROR.items()}
    assert len(alexnet) == 15
    assert mean_corruption_error(alexnet) == pytest.approx(1)
