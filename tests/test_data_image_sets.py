"""Loading by name: splits, slices, labels, fingerprints and the errors of a wrong name."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from can.data import DEFAULT_DATA_DIR, ArrayImages, available, load, registry
from can.data.image_set import EncodedImages, sha256_of
from can.errors import ConfigError, DataError


def smoke(split, tmp_path, **options):
    return load("smoke", split, data_dir=tmp_path, **options)


def test_smoke_is_256_colour_images_of_ten_balanced_classes_without_touching_the_disk(tmp_path):
    for split in ("train", "test"):
        images = smoke(split, tmp_path)
        assert isinstance(images, ArrayImages)
        assert images.images.shape == (256, 32, 32, 3)
        assert images.images.dtype == np.uint8
        assert images.labels.dtype == np.int32
        assert set(np.bincount(images.labels)) == {25, 26}
        assert images.num_classes == len(images.class_names) == 10
    assert not list(tmp_path.iterdir())


def test_smoke_test_images_are_not_its_training_images(tmp_path):
    train, test = (smoke(split, tmp_path).images for split in ("train", "test"))
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_smoke_classes_can_be_learned(tmp_path):
    train, test = smoke("train", tmp_path), smoke("test", tmp_path)

    def features(images):
        """Magnitudes of low spatial frequencies: insensitive to where a shape is and to its colours."""
        grey = images.images.astype(np.float64).mean(-1)
        grey -= grey.mean((1, 2), keepdims=True)
        spectrum = np.abs(np.fft.fft2(grey))[:, :12, :12].reshape(len(grey), -1)
        return spectrum / np.linalg.norm(spectrum, axis=1, keepdims=True) * 10

    classifier = LogisticRegression(max_iter=2000).fit(features(train), train.labels)
    assert classifier.score(features(test), test.labels) > 0.35  # chance is 0.1


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("train", range(256)),
        ("train[:200]", range(200)),
        ("train[200:]", range(200, 256)),
        ("train[10:20]", range(10, 20)),
        ("train[-6:]", range(250, 256)),
        ("train[:25%]", range(64)),
        ("train[75%:]", range(192, 256)),
        ("train[:3]+train[250:252]", [0, 1, 2, 250, 251]),
    ],
)
def test_splits_are_sliced_as_tfds_slices_them(tmp_path, spec, expected):
    whole, part = smoke("train", tmp_path), smoke(spec, tmp_path)
    assert part.split == spec
    np.testing.assert_array_equal(part.images, whole.images[list(expected)])
    np.testing.assert_array_equal(part.labels, whole.labels[list(expected)])


def test_slices_of_encoded_images_compose():
    class Numbers:
        def __len__(self):
            return 100

        def __getitem__(self, index):
            return bytes([index]), index % 3

        def label(self, index):
            return index % 3

        def describe(self, index):
            return f"number {index}"

    images = EncodedImages("numbers", "train", 3, ("a", "b", "c"), "f", Numbers())
    part = images.take("train[10:30]+train[90:]", [(10, 30), (90, 100)]).take("inner", [(5, 25)])
    assert len(part) == 20
    assert [part[i][0][0] for i in range(20)] == [*range(15, 30), *range(90, 95)]
    assert part.describe(15) == "number 90"
    with pytest.raises(IndexError):
        part[20]
    assert part.without_labels()[0] == (bytes([15]), None)


def test_unlabelled_sets_have_the_same_images_and_nothing_of_the_labels(tmp_path):
    images = smoke("train", tmp_path, labelled=False)
    assert images.labels is None
    assert images.num_classes is None
    assert images.class_names == ()
    np.testing.assert_array_equal(images.images, smoke("train", tmp_path).images)


def test_fingerprints_tell_contents_apart_and_are_repeatable(tmp_path):
    prints = [smoke(split, tmp_path).fingerprint for split in ("train", "test", "train[:9]", "train[9:18]")]
    assert len(set(prints)) == 4
    assert all(len(value) == 64 and int(value, 16) >= 0 for value in prints)
    assert smoke("train[:9]", tmp_path).fingerprint == prints[2]
    assert sha256_of("a", "bc") != sha256_of("ab", "c")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("fashon_mnist", "fashion_mnist"), ("offline-mix", "offline_mix"), ("imagenet2021", "imagenet2012")],
)
def test_an_unknown_name_is_answered_with_the_nearest_one(tmp_path, name, nearest):
    with pytest.raises(ConfigError, match=f"unknown data set '{name}'; did you mean '{nearest}'"):
        load(name, "train", data_dir=tmp_path)


def test_an_unknown_split_is_answered_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match=r"unknown split 'trian' of smoke; did you mean 'train'"):
        smoke("trian[:10]", tmp_path)


@pytest.mark.parametrize("spec", ["train[", "train[5:5]", "train[300:]", "train[:-256]", "train+test"])
def test_a_slice_that_is_malformed_empty_or_mixed_is_an_error_that_quotes_it(tmp_path, spec):
    with pytest.raises(DataError) as error:
        smoke(spec, tmp_path)
    assert repr(spec) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tfds_set_that_is_not_prepared_is_answered_with_the_command(tmp_path):
    with pytest.raises(DataError, match=r"tfds\.builder\('dtd'.*file_format='array_record'\)\.download_and_prepare"):
        load("dtd", "train", data_dir=tmp_path)


def test_the_sets_of_the_package_are_listed():
    few_shot = ("climate", "drawings", "emoji", "icons", "landscapes", "letters", "photographs", "sprites")
    assert available() == tuple(sorted(("cifar10", "fashion_mnist", "offline_mix", "smoke", *few_shot)))
    assert DEFAULT_DATA_DIR.is_absolute()


def test_reading_imports_no_recipe_and_opens_their_sets_all_the_same() -> None:
    """The recipes build on reading: the other way round would be a circle."""
    for path in Path(registry.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            above = ("can.recipes", "can.evals", "can.runs", "can.methods", "can.train", "experiments", "analysis")
            assert not [name for name in names if name.startswith(above)], path
    assert set(registry.available()) > {"cifar10", "smoke", "offline_mix", "emoji"}
    assert {"cifar10_sketch", "smoke_v2"} <= set(registry._shifted()) and "smoke_v2" not in registry.available()
