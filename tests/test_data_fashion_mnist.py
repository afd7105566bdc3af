"""Fashion-MNIST's preparation, with small files of the same format in place of the real ones."""

from __future__ import annotations

import gzip
import hashlib
import sys

import numpy as np
import pytest

from can.data import load
from can.data.formats.tfds_records import read_tfds
from can.errors import DataError
from can.recipes import debian, fashion_mnist


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Four idx files in the data folder; returns their images and labels."""
    rng = np.random.default_rng(0)
    arrays, checksums = {}, {}
    for split, prefix, count in (("train", "train", 40), ("test", "t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        arrays[split] = images, labels
        header = np.array([0x803, count, 28, 28], ">i4").tobytes()
        for kind, content in (
            ("images-idx3", header + images.tobytes()),
            ("labels-idx1", np.array([0x801, count], ">i4").tobytes() + labels.tobytes()),
        ):
            name = f"{prefix}-{kind}-ubyte"
            checksums[name] = hashlib.sha256(content).hexdigest()
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    monkeypatch.setattr(fashion_mnist, "_SHA256", checksums)
    return arrays


def test_every_image_comes_back_with_its_label_in_three_equal_channels(raw, tmp_path):
    for split, (images, labels) in raw.items():
        loaded = load("fashion_mnist", split, data_dir=tmp_path)
        assert loaded.images.shape == (len(images), 28, 28, 3)
        assert isinstance(loaded.images, np.memmap)
        assert (loaded.num_classes, loaded.class_names[9]) == (10, "Ankle boot")
        pairs = {(image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}
        for channel in range(3):
            found = zip(np.ascontiguousarray(loaded.images[..., channel]), loaded.labels, strict=True)
            assert {(image.tobytes(), int(label)) for image, label in found} == pairs


def test_it_is_kept_as_array_record_in_tfds_format_and_the_raw_files_are_no_longer_needed(raw, tmp_path):
    first = load("fashion_mnist", "train", data_dir=tmp_path)
    for path in tmp_path.glob("*.gz"):
        path.unlink()
    assert load("fashion_mnist", "train", data_dir=tmp_path).fingerprint == first.fingerprint
    records = read_tfds("fashion_mnist", tmp_path)
    assert len(list((tmp_path / "fashion_mnist" / "3.0.1").glob("*.array_record*"))) == 2
    assert [len(records[split]) for split in ("train", "test")] == [40, 20]
    data, label = records["train"][3]
    assert data.startswith(b"\x89PNG")
    assert label == first.labels[3]
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_file_is_an_error_that_names_it_and_nothing_is_kept(raw, tmp_path, kept):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is damaged or cut short"):
        load("fashion_mnist", "train", data_dir=tmp_path)
    assert not (tmp_path / "decoded" / "fashion_mnist").exists()
    assert not (tmp_path / "fashion_mnist" / "3.0.1").exists()


def test_a_changed_file_is_a_checksum_error(raw, tmp_path):
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"\x0b"))
    with pytest.raises(DataError, match=r"checksum error: .*t10k-labels-idx1-ubyte\.gz has sha256"):
        load("fashion_mnist", "train", data_dir=tmp_path)


def test_where_it_cannot_be_had_the_error_says_what_was_tried_and_where_to_put_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(debian.MIRROR_VARIABLE, (tmp_path / "no-mirror").as_uri())
    monkeypatch.setattr(fashion_mnist, "ADDRESS", (tmp_path / "no-address").as_uri())
    monkeypatch.setattr(
        fashion_mnist, "_PACKAGE", debian.DebianPackage("no-such-package", "pool/x.deb", "0", "no/such")
    )
    with pytest.raises(DataError) as error:
        load("fashion_mnist", "train", data_dir=tmp_path)
    for part in (
        "no apt-get here",
        "no-mirror",
        "no-address",
        "train-images-idx3-ubyte.gz",
        str(tmp_path),
        "--labelled",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
