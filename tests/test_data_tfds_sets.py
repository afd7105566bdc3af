"""The paper's nine few-shot sets: tiny ones with TFDS's own names and features, read by our loader."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from can.commands.evaluations.few_shot import TFDS_SETS
from can.data import ArrayImages, batches, eval_batches, load
from can.data.formats.tfds_records import write_tfds
from can.errors import DataError
from can.evals.classes import check_same_classes, labels_of

CLASSES = dict(zip((name for name, *_ in TFDS_SETS), (200, 102, 196, 100, 8, 47, 1000, 37, 21), strict=True))


def picture(shape, seed):
    height, width, channels = (side or 40 for side in shape)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, "PNG")
    return io.BytesIO(file.getvalue())


def value(name, feature, index):
    if isinstance(feature, tfds.features.Image):
        return picture(feature.shape, index)
    if isinstance(feature, tfds.features.ClassLabel):
        return (index if name == "label" else index + 1) % feature.num_classes
    if isinstance(feature, tfds.features.BBoxFeature):
        return tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=1.0, xmax=1.0)
    return f"{name}{index}"


@pytest.mark.parametrize("name", CLASSES)
def test_it_is_read_with_tfdss_labels(name, tmp_path):
    info = tfds.builder(name, data_dir=str(tmp_path / "none")).info
    features = info.features
    target = tmp_path / name / str(info.version)
    target.mkdir(parents=True)

    def examples():
        for index in range(4):
            yield index, {key: value(key, feature, index) for key, feature in features.items()}

    write_tfds(name.split("/")[0], str(info.version), target, features, {"train": examples})
    images = load(name, "train", data_dir=tmp_path)
    assert images.num_classes == CLASSES[name]
    assert images.class_names == tuple(features["label"].names)
    assert sorted(labels_of(images)) == [0, 1, 2, 3]


def test_what_was_decoded_of_records_that_changed_is_not_taken_again(tmp_path):
    """The names of the classes lie in a file of their own."""
    target = tmp_path / "pets" / "1.0.0"
    target.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    )

    def examples():
        for index in range(4):
            yield index, {"image": picture((None, None, 3), index), "label": index % 2}

    write_tfds("pets", "1.0.0", target, features, {"train": examples})
    assert load("pets", "train", data_dir=tmp_path).class_names == ("cat", "dog")
    (target / "label.labels.txt").write_text("dog\ncat\n")
    assert load("pets", "train", data_dir=tmp_path).class_names == ("dog", "cat")


def two_splits(folder, size, **labels):
    """A TFDS set with the given labels in each split, of images of that size."""
    target = folder / "pets" / "1.0.0"
    target.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    )

    def examples(number, of_split):
        for index, label in enumerate(of_split):
            yield index, {"image": picture((size, size, 3), 10 * number + index % 3), "label": label}

    splits = {split: partial(examples, number, of) for number, (split, of) in enumerate(labels.items())}
    write_tfds("pets", "1.0.0", target, features, splits)


@pytest.mark.parametrize("size", [40, 80])  # decoded into arrays, and as they are
def test_only_what_is_asked_for_is_judged(tmp_path, size):
    """Labels that are not published, -1, in a split that nobody asked for refused the whole set, if it was small."""
    two_splits(tmp_path, size, train=[0, 1, 0, 1], test=[-1, -1, -1], dev=[0, 1, 1, -1, 1, 0, 1, 1])
    train = load("pets", "train", data_dir=tmp_path)
    assert isinstance(train, ArrayImages) == (size == 40)
    assert sorted(labels_of(train)) == [0, 0, 1, 1]
    test = load("pets", "test", data_dir=tmp_path)  # for what needs no labels
    assert (len(test), test.num_classes) == (3, None)
    assert next(batches(test, batch_size=2, seed=0, image_size=24))["image"].shape[0] == 2
    with pytest.raises(DataError, match="pets test has no"):
        check_same_classes("a linear probe", train, test)
    with pytest.raises(DataError, match="record . of .*dev has the label -1, and there are 2 classes"):
        labels_of(load("pets", "dev", data_dir=tmp_path))
    without = load("pets", "dev", data_dir=tmp_path, labelled=False)
    assert len([image for batch in eval_batches(without, batch_size=3, image_size=24) for image in batch["image"]]) == 8
