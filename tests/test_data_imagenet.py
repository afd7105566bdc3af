"""A set in imagenet2012's TFDS format out of photos, and its reading without TensorFlow."""

from __future__ import annotations

import io
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from can.data import EncodedImages, batches, load
from can.errors import DataError
from can.recipes.make_imagenet import WNIDS, imagenet_labels, main, make_imagenet


def photo(seed, kind="JPEG"):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (90, 100, 3), dtype=np.uint8)).save(file, kind)
    return file.getvalue()


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def contents(data_dir, split):
    images = load("imagenet2012", split, data_dir=data_dir)
    assert isinstance(images, EncodedImages)
    assert (images.num_classes, images.class_names) == (1000, WNIDS)
    return [images[index] for index in range(len(images))]


def test_wnids_keep_imagenets_labels_and_bytes_are_kept_as_they_are(tmp_path):
    assert len(WNIDS) == 1000
    assert WNIDS.index("n02123045") == 281  # tabby cat
    files = {f"{wnid}/{index}.JPEG": photo(index) for index in range(5) for wnid in ("n02123045", "n01440764")}
    write(tmp_path / "photos", files)
    make_imagenet(tmp_path / "photos", tmp_path / "data", validation_every=5)
    train, validation = (contents(tmp_path / "data", split) for split in ("train", "validation"))
    assert (len(train), len(validation)) == (8, 2)
    expected = {(content, 0 if "n0144" in name else 281) for name, content in files.items()}
    assert set(train) | set(validation) == expected
    assert "tensorflow" not in sys.modules


def test_every_class_is_held_out_in_proportion(tmp_path):
    write(tmp_path / "photos", {f"{label}/{index}.jpg": photo(index) for index in range(5) for label in "abcdef"})
    make_imagenet(tmp_path / "photos", tmp_path / "data", validation_every=5)
    assert sorted(label for _, label in contents(tmp_path / "data", "validation")) == [0, 1, 2, 3, 4, 5]


def test_other_subfolders_get_labels_in_sorted_order_and_png_becomes_jpeg(tmp_path):
    write(tmp_path / "photos", {"b/0.png": photo(0, "PNG"), "a/1.jpg": photo(1), "n02123045/2.jpg": photo(2)})
    make_imagenet(tmp_path / "photos", tmp_path / "data", validation_every=3)
    train = contents(tmp_path / "data", "train")
    validation = contents(tmp_path / "data", "validation")
    assert sorted(label for _, label in train) == [0, 1]
    assert [label for _, label in validation] == [2]
    assert all(data.startswith(b"\xff\xd8") for data, _ in train)


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (("0", "1", "10", "11", "2"), [0, 1, 3, 4, 2]),  # by text, 2 was label 4 and 10 was 2
        (("007", "12", "3"), [1, 2, 0]),
        (("1", "10", "2", "a"), [0, 1, 2, 3]),
        (("1", "²"), [0, 1]),
        (("n02123045", "n01440764"), [281, 0]),
    ],
)
def test_folders_that_are_numbers_are_labelled_in_their_order(folders, labels):
    assert imagenet_labels(folders) == labels


def test_which_folder_has_which_label_is_told(tmp_path):
    write(tmp_path / "photos", {f"{label}/0.jpg": photo(label) for label in range(12)})
    told = []
    make_imagenet(tmp_path / "photos", tmp_path / "data", 3, told.append)
    assert told == ["labels: " + ", ".join(f"{label} is {label}" for label in range(12))]
    found = [*contents(tmp_path / "data", "train"), *contents(tmp_path / "data", "validation")]
    assert {label: data for data, label in found} == {label: photo(label) for label in range(12)}


def test_photos_in_no_subfolder_of_a_zip_get_labels_in_turn(tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for index in range(6):
            archive.writestr(f"{index}.jpg", photo(index))
    make_imagenet(tmp_path / "photos.zip", tmp_path / "data", validation_every=3)
    assert {label for _, label in contents(tmp_path / "data", "train")} == {0, 1, 3, 4}
    assert {label for _, label in contents(tmp_path / "data", "validation")} == {2, 5}


def test_its_photos_are_cropped_into_training_batches(tmp_path):
    write(tmp_path / "photos", {f"{index}.jpg": photo(index) for index in range(6)})
    make_imagenet(tmp_path / "photos", tmp_path / "data")
    images = load("imagenet2012", "train[:4]", data_dir=tmp_path / "data")
    batch = next(batches(images, batch_size=8, seed=0, views=2, image_size=32))
    assert batch["image"].shape == (8, 2, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(batch["label"]).max(), 2)


def test_the_command_ends_with_one_line_and_keeps_nothing_if_a_photo_is_damaged(tmp_path, capsys):
    write(tmp_path / "photos", {"0.jpg": photo(0), "1.jpg": photo(1)[:500], "2.jpg": photo(2)})
    arguments = [f"--folder={tmp_path / 'photos'}", f"--data_dir={tmp_path / 'data'}", "--validation_every=2"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert "1.jpg is cut short" in str(ended.value.code)
    assert not list((tmp_path / "data").rglob("*.array_record*"))
    write(tmp_path / "photos", {"1.jpg": photo(1)})
    main(arguments)
    assert "wrote" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="exists already"):
        main(arguments)


def test_too_many_classes_and_a_missing_folder_are_errors(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="there is no .*nowhere"):
        make_imagenet(tmp_path / "nowhere", tmp_path / "data")
    monkeypatch.setattr("can.recipes.make_imagenet.WNIDS", WNIDS[:2])
    write(tmp_path / "photos", {f"{label}/0.jpg": photo(0) for label in "abc"})
    with pytest.raises(DataError, match="there are 3 class folders, imagenet2012 has 2"):
        make_imagenet(tmp_path / "photos", tmp_path / "data", validation_every=2)
