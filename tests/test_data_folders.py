"""`folder:PATH` and zip archives: labels from subfolders, and errors that name the file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from can.data import ArrayImages, EncodedImages, load
from can.errors import ConfigError, DataError
from can.evals.classes import check_same_classes


def drawn(height, width, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(height=10, width=12, seed=0):
    return cv2.imencode(".png", drawn(height, width, seed))[1].tobytes()


def pixels(height, width, seed):
    """What `png` of the same arguments shows: OpenCV writes BGR."""
    return drawn(height, width, seed)[..., ::-1].tobytes()


def contents(images):
    """Images and labels, in no order."""
    found = {(image.tobytes(), int(label)) for image, label in zip(images.images, images.labels, strict=True)}
    assert len(found) == len(images)
    return found


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def photos(root, split="train", **options):
    return load(f"folder:{root}", split, data_dir=root.parent / "data", **options)


CATS_AND_DOGS = {"dog/2.png": png(80, 90), "cat/a/1.PNG": png(70, 80), "cat/0.png": png(70, 70), "cat/notes.txt": b"x"}
PICTURES = ("cat/0.png", "cat/a/1.PNG", "dog/2.png")


def test_class_subfolders_in_sorted_order_are_the_labels(tmp_path):
    write(tmp_path / "photos", CATS_AND_DOGS)
    images = photos(tmp_path / "photos")
    assert isinstance(images, EncodedImages)
    assert (images.num_classes, images.class_names) == (2, ("cat", "dog"))
    expected = {tmp_path / "photos" / name: (CATS_AND_DOGS[name], int("dog" in name)) for name in PICTURES}
    assert {Path(images.describe(index)): images[index] for index in range(3)} == expected
    assert len(photos(tmp_path / "photos", "train[1:]")) == 2
    assert photos(tmp_path / "photos", labelled=False)[2][1] is None


def test_a_zip_archive_is_read_as_the_same_set(tmp_path):
    write(tmp_path / "photos", CATS_AND_DOGS)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name, content in CATS_AND_DOGS.items():
            archive.writestr(name, content)
        archive.writestr("__MACOSX/cat/._0.png", b"x")
    folder, zipped = photos(tmp_path / "photos"), photos(tmp_path / "photos.zip")
    assert zipped.class_names == folder.class_names
    assert [zipped[index] for index in range(3)] == [folder[index] for index in range(3)]


def sorted_by_class(root, classes=5, of_each=40, size=80):
    """A folder of classes, as archives come: all images of one class, then all of the next."""
    names = [f"{label}/{index:03}.png" for label in "abcdefgh"[:classes] for index in range(of_each)]
    write(root, {name: png(size, size, number) for number, name in enumerate(names)})
    return names


def zipped(path, root, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, (root / name).read_bytes())


@pytest.mark.parametrize("form", ["folder", "zip", "decoded"])
def test_every_part_of_a_set_that_is_sorted_by_class_is_a_fair_sample(tmp_path, form):
    names = sorted_by_class(tmp_path / "photos", size=8 if form == "decoded" else 80)
    zipped(tmp_path / "photos.zip", tmp_path / "photos", names)
    source = tmp_path / ("photos.zip" if form == "zip" else "photos")
    for part, of_each in (("train[:80%]", 32), ("train[80%:]", 8), ("train[:50]", 10)):
        images = photos(source, part)
        labels = images.labels if form == "decoded" else [images[index][1] for index in range(len(images))]
        counts = np.bincount(labels, minlength=5)
        # Four standard deviations of a draw without replacement.
        assert np.abs(counts - of_each).max() <= 4 * np.sqrt(0.8 * of_each * (1 - of_each / 40)), part


def test_the_order_does_not_depend_on_the_machine_or_on_other_files(tmp_path, monkeypatch):
    names = sorted_by_class(tmp_path / "photos", classes=2, of_each=5)

    def order(source):
        images = photos(source)
        return [images.describe(index).split("photos/")[-1].removeprefix("zip/") for index in range(len(images))]

    first = order(tmp_path / "photos")
    fixed = ["b/004", "b/003", "b/001", "a/003", "a/002", "a/004", "b/002", "a/000", "a/001", "b/000"]
    assert first == [f"{name}.png" for name in fixed]
    zipped(tmp_path / "photos.zip", tmp_path / "photos", names[::-1])
    archive = photos(tmp_path / "photos.zip")
    assert [archive.describe(index).split(".zip/")[1] for index in range(10)] == first
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *args, **kw: [(top, subs, files[::-1]) for top, subs, files in walk(*args, **kw)][::-1]
    )
    assert order(tmp_path / "photos") == first
    (tmp_path / "photos" / "b" / "000.png").unlink()
    assert order(tmp_path / "photos") == [name for name in first if name != "b/000.png"]


def test_loose_images_are_unlabelled(tmp_path):
    write(tmp_path / "photos", {f"{index}.png": png(80, 80, index) for index in range(3)} | {".hidden.png": b""})
    images = photos(tmp_path / "photos")
    assert (len(images), images.num_classes, images.class_names) == (3, None, ())


def test_subfolders_called_train_and_val_are_splits(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        for label in "ab":
            write(tmp_path / "photos" / split / label, {f"{index}.png": png(80, 80, index) for index in range(count)})
    assert [len(photos(tmp_path / "photos", split)) for split in ("train", "val")] == [8, 4]
    assert photos(tmp_path / "photos", "val").class_names == ("a", "b")
    (tmp_path / "photos" / "val" / "b").rename(tmp_path / "photos" / "val" / "c")
    parts = [photos(tmp_path / "photos", split) for split in ("train", "val")]
    assert parts[0].class_names == parts[1].class_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"val has images of 1 class that .* train has none of \(c\)"):
        check_same_classes("a probe", *parts)


def test_few_small_images_of_one_size_are_decoded_once_into_arrays(tmp_path):
    files = {f"{'ab'[label]}/{index}.png": png(12, 10, 10 * index + label) for index in range(3) for label in range(2)}
    write(tmp_path / "photos", files)
    images = photos(tmp_path / "photos")
    assert isinstance(images, ArrayImages)
    assert isinstance(images.images, np.memmap)
    expected = {(pixels(12, 10, 10 * index + label), label) for index in range(3) for label in range(2)}
    assert contents(images) == expected


def test_changed_files_are_not_taken_for_the_old_ones(tmp_path):
    write(tmp_path / "photos", {"0.png": png(12, 10, 0), "1.png": png(12, 10, 1)})
    before = photos(tmp_path / "photos")
    write(tmp_path / "photos", {"2.png": png(12, 10, 2)})
    after = photos(tmp_path / "photos")
    assert (len(before), len(after)) == (2, 3)
    assert before.fingerprint != after.fingerprint


def test_small_images_of_several_sizes_stay_encoded(tmp_path):
    write(tmp_path / "photos", {"0.png": png(12, 10), "1.png": png(12, 11)})
    assert isinstance(photos(tmp_path / "photos"), EncodedImages)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": b"x"}, "no images"),
        ({"cat/0.png": png(80, 80), "1.png": png(80, 80)}, r"class folders and also loose images \(1\.png\)"),
        ({"0.png": png(20, 20), "1.png": png(20, 20, 1)[:-30]}, r"1\.png is cut short"),
        ({"0.png": png(20, 20), "1.png": b"\x89PNG but not really IEND"}, r"1\.png is not an image"),
    ],
)
def test_folders_that_cannot_be_a_set_are_errors(tmp_path, files, message):
    write(tmp_path / "photos", files)
    with pytest.raises(DataError, match=message):
        photos(tmp_path / "photos")


def test_a_folder_without_a_name_is_not_the_working_directory(tmp_path):
    with pytest.raises(ConfigError, match="folder: names no folder"):
        load("folder:", "train", data_dir=tmp_path)


def test_a_missing_folder_and_a_damaged_archive_are_errors(tmp_path):
    with pytest.raises(DataError, match="there is no folder .*nowhere"):
        photos(tmp_path / "nowhere")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(DataError, match=r"broken\.zip is not a whole zip archive"):
        photos(tmp_path / "broken.zip")
