"""Every evaluation that trains on one set and tests on another refuses classes that it could not have learned."""

from __future__ import annotations

import dataclasses
import zipfile

import cv2
import numpy as np
import pytest
from absl import logging
from flax import nnx
from PIL import Image

from can.config import FewShotConfig, FinetuneConfig, LinearProbeConfig
from can.data import ArrayImages, EncodedImages, load
from can.data.formats.tfds_records import TfdsRecords
from can.errors import DataError
from can.evals import few_shot, finetune, linear_probe
from can.evals.classes import check_same_classes, equal_images, labels_of
from can.evals.encoder import Encoder
from can.models import ViT, model_config

MODEL = model_config("nano", 14, width=32, heads=2, depth=2, mlp_dim=64)


def probe(train, test, folder):
    encoder = Encoder.from_model(ViT(MODEL, rngs=nnx.Rngs(0)))
    return linear_probe.evaluate(encoder, train, test, LinearProbeConfig(cache_features=True), seed=0)


def finetuned(train, test, folder):
    return finetune.evaluate(ViT(MODEL, rngs=nnx.Rngs(0)), train, test, FinetuneConfig(), seed=0, work_dir=folder)


def shots(train, test, folder):
    encoder = Encoder.from_model(ViT(MODEL, rngs=nnx.Rngs(0)))
    return few_shot.evaluate(encoder, train, test, FewShotConfig(shots=(1,), choices=1), seed=0)


EVALUATIONS = {"linear probe": probe, "finetuning": finetuned, "few-shot": shots}


def images(labels, names=("cat", "dog", "emu"), split="train"):
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 14, 14, 3), dtype=np.uint8)
    return ArrayImages("pets", split, len(names), tuple(names), f"{labels}", pixels, np.array(labels, np.int32))


@pytest.fixture
def no_encoding(monkeypatch):
    """Nothing is encoded and nothing trained: the error comes before."""

    def fail(*args, **kwargs):
        raise AssertionError("an image was encoded")

    monkeypatch.setattr(Encoder, "features", fail)
    monkeypatch.setattr(finetune, "make_train_step", fail)


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_classes_that_the_training_split_lacks_are_refused_before_anything_is_encoded(
    evaluation, no_encoding, tmp_path
):
    with pytest.raises(DataError) as error:
        EVALUATIONS[evaluation](images([0, 0, 2, 2]), images([0, 1, 1, 2], split="test"), tmp_path)
    text = str(error.value)
    assert "\n" not in text
    assert evaluation in text
    assert "pets test has images of 1 class that pets train has none of (dog)" in text


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_sets_that_number_their_classes_differently_are_refused(evaluation, no_encoding, tmp_path):
    other = images([0, 1, 2], names=("cat", "emu", "dog"), split="test")
    with pytest.raises(DataError, match="class 1 is 'dog' in pets train and 'emu' in pets test"):
        EVALUATIONS[evaluation](images([0, 1, 2]), other, tmp_path)


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_a_set_without_labels_and_one_of_other_classes_are_refused(evaluation, no_encoding, tmp_path):
    train, test = images([0, 1, 2]), images([0, 1], names=("cat", "dog"), split="test")
    with pytest.raises(DataError, match="has 3 classes, pets test has 2"):
        EVALUATIONS[evaluation](train, test, tmp_path)
    with pytest.raises(DataError, match="pets train has no classes"):
        EVALUATIONS[evaluation](train.without_labels(), train, tmp_path)
    with pytest.raises(DataError, match="pets train has 3 classes, pets train has no$"):
        EVALUATIONS[evaluation](train, train.without_labels(), tmp_path)


def test_a_test_split_may_lack_classes():
    check_same_classes("a probe", images([0, 1, 2]), images([1], split="test"))


def test_a_probe_on_both_parts_of_an_archive_that_is_sorted_by_class_has_a_number(tmp_path):
    """It answered 0.0 % in silence."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "colours.zip", "w") as archive:
        for channel, label in enumerate(("blue", "green", "red")):
            for index in range(40):
                pixels = rng.integers(0, 60, (14, 14, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                archive.writestr(f"{label}/{index:02}.png", cv2.imencode(".png", pixels)[1].tobytes())
    name = f"folder:{tmp_path}/colours.zip"
    parts = [load(name, part, data_dir=tmp_path) for part in ("train[:80%]", "train[80%:]")]
    config = LinearProbeConfig(base_lr=10, batch_size=32, epochs=20, warmup_epochs=2, cache_features=True)
    encoder = Encoder.from_model(ViT(MODEL, rngs=nnx.Rngs(0)))
    assert linear_probe.evaluate(encoder, *parts, config, seed=0)["top1"] > 0.6  # chance: 0.33


class Listed:
    """Records that note which of them were read."""

    def __init__(self, labels):
        self.labels, self.read = labels, []

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        raise AssertionError("an image was read")

    def label(self, index):
        self.read.append(index)
        return self.labels[index]

    def describe(self, index):
        return f"record {index}"


def encoded(labels):
    return EncodedImages("listed", "train", 3, (), "f", Listed(labels))


def test_labels_are_read_without_the_images_and_no_further_than_needed():
    train, test = encoded([0, 2, 0, 1, 0, 0]), encoded([0, 1, 2])
    check_same_classes("a probe", train, test)
    assert train.records.read == [0, 1, 2, 3]  # the last class is found at the fourth image
    assert test.records.read == []
    assert labels_of(train).tolist() == [0, 2, 0, 1, 0, 0]
    lacking = encoded([0, 2, 0])
    with pytest.raises(DataError, match=r"1 class that listed train has none of \(1\)"):
        check_same_classes("a probe", lacking, encoded([2, 1, 0, 0]))


def test_equal_images_in_training_and_test_are_counted_and_said_once(tmp_path, monkeypatch):
    """Not a word was said. Of files their hashes are compared, of arrays their pixels."""
    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    for size in (8, 80):  # decoded, and as they are
        for index, split in enumerate(("train", "test")):
            for label in "ab":
                for number in range(3):
                    path = tmp_path / f"p{size}" / split / label / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    value = 10 * number + 100 * (label == "b") + (0 if number == 0 else 3 * index)
                    Image.new("RGB", (size, size), (value,) * 3).save(path)
        train, test = (load(f"folder:{tmp_path / f'p{size}'}", split, data_dir=tmp_path) for split in ("train", "test"))
        assert isinstance(train, ArrayImages) == (size == 8)
        assert equal_images(train, test) == 2
        for _ in range(2):
            check_same_classes("a probe", train, test)
    assert len(told) == 2 and all(line.startswith("2 of the 6 images of folder:") for line in told)


def test_equal_images_are_counted_in_sets_whose_files_hold_many_images(tmp_path, monkeypatch):
    """They were not, in TFDS sets of large images: each image is read for it, once."""
    read = []

    class Counted(TfdsRecords):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    def split(name, *values):
        examples = [{"image": bytes([value]) * 9, "label": value % 2} for value in values]
        records = Counted(examples, name, labelled=True)
        return EncodedImages("pets", name, 2, ("a", "b"), name, records, hashes=tmp_path / f"{name}.npy")

    train, test = split("train", 1, 2, 3, 4), split("test", 9, 4, 1)
    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    check_same_classes("a probe", train, test)
    assert told == ["2 of the 3 images of pets test are in pets train, too"]
    assert set(read) == {0, 1, 2, 3}
    read.clear()
    assert equal_images(train.take("train[1:2]", [(1, 2)]), test) == 0
    assert read == []  # the hashes are kept
    (tmp_path / "test.npy").write_bytes(b"damaged")
    assert equal_images(train, test) == 2
    assert equal_images(train, dataclasses.replace(test, hashes=None)) is None
