"""ImageNet's subsets: the facts have the published sizes, and the argmax keeps to them."""

import numpy as np
import tensorflow_datasets as tfds

from can.evals.class_subsets import argmax_of, imagenet_subset, objectnet_classes, objectnet_labels


def test_the_subsets_have_the_published_numbers_of_classes():
    assert [len(set(imagenet_subset(name))) for name in ("imagenet_a", "imagenet_r")] == [200, 200]
    assert len(objectnet_classes()) == 113
    assert set(objectnet_labels()) == {label for labels in objectnet_classes().values() for label in labels}


def test_known_classes_are_in_them_under_tfdss_labels():
    """Stingray (n01498041) is in both, goldfish (n01443537) in R only, tench (n01440764) in neither."""
    label = tfds.builder("imagenet_a").info.features["label"].str2int
    a, r = (imagenet_subset(name) for name in ("imagenet_a", "imagenet_r"))
    assert label("n01498041") in a
    assert (label("n01443537") in a, label("n01443537") in r) == (False, True)
    assert label("n01440764") not in (*a, *r)


def test_objectnets_chair_is_two_of_imagenets_classes_and_a_banana_one():
    names = tfds.builder("imagenet2012").info.features["label"].int2str
    classes = objectnet_classes()
    assert [names(label) for label in classes["banana"]] == ["n07753592"]
    assert len(classes["chair"]) > 1


def test_the_argmax_is_among_the_subset():
    logits = np.array([[9.0, 1.0, 2.0], [0.0, 5.0, 4.0]], np.float32)
    assert argmax_of(logits).tolist() == [0, 1]
    assert argmax_of(logits, (1, 2)).tolist() == [2, 1]
    assert argmax_of(logits, (2, 0)).tolist() == [0, 2]
