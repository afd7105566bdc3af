"""The paper's nine few-shot sets: tiny ones with TFDS's own names and features, read by our loader."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from can.commands.evaluations.few_shot import TFDS_SETS
from can.data import load
from can.data.tfds_records import write_tfds
from can.evals.classes import labels_of

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
