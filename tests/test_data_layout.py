"""Folders of images as they come: splits, outer folders, odd files, links, pipes, bombs, and what changes later."""

from __future__ import annotations

import io
import os
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from PIL import Image
from test_data_folders import photos, png, write, zipped

from can.data import ArrayImages, contents
from can.data.formats import listing
from can.data.formats.layout import layout_of
from can.errors import ConfigError, DataError
from can.evals.classes import check_same_classes

SPLITS = ("train", "test")


def classes(*splits: str) -> dict[str, bytes]:
    """Two images of each of two classes in each split."""
    names = [f"{split}/{label}/{index}.png" for split in splits for label in "ab" for index in range(2)]
    return {name: png(80, 80, number) for number, name in enumerate(names)}


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("outer", ["", "photos-1.0/", "download/photos-1.0/"])
@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("Training", "val", "TEST"),
        ("train_set", "VALIDATION", "testing"),
        ("train", "test"),
        ("training", "dev", "evaluation"),
        ("seg_train", "seg_validate", "seg_test"),
        ("Train2017", "val2017", "test2017"),
        ("train/train", "valid/valid", "test/test"),
    ],
)
def test_folders_with_the_usual_names_are_splits_beside_whatever_else(
    tmp_path: Path, names: tuple[str, ...], outer: str, form: str
) -> None:
    beside = {"README.md": b"x", "labels.csv": b"x", "masks/a/0.png": png(80, 80, 99)}
    files = {f"{outer}{name}": content for name, content in (classes(*names) | beside).items()}
    if form == "zip":
        source = packed(tmp_path / "s.zip", files)
    else:
        write(tmp_path / "s", files)
        source = tmp_path / "s"
    for split in ("train", "val", "validation", "test")[:: 1 if len(names) == 3 else 3]:
        images = photos(source, split)
        assert (len(images), images.class_names) == (4, ("a", "b"))
    seen = {images[index][0] for images in (photos(source), photos(source, "test")) for index in range(4)}
    assert len(seen) == 8
    assert len(photos(source, "test[:50%]")) == 2


def test_a_class_may_be_called_as_a_split_is() -> None:
    layout = layout_of(["train/0.png", "plane/1.png", "car/2.png"], "here")
    assert (list(layout.splits), layout.classes, layout.beside) == (["train"], ("car", "plane", "train"), [])
    assert list(layout_of(["test/a/0.png", "test/b/1.png"], "here").splits) == ["test"]
    assert layout_of(["train-station/0.png", "test-tube/1.png"], "here").classes == ("test-tube", "train-station")


def test_classes_called_as_two_splits_are_classes_where_all_folders_have_images() -> None:
    """The classes train and val were taken for splits of a set without labels, and the others left out."""
    layout = layout_of(
        [f"{name}/{index}.png" for name in ("seabus", "train", "tram", "val") for index in range(2)], "x"
    )
    assert ([*layout.splits], layout.classes, layout.beside) == (["train"], ("seabus", "train", "tram", "val"), [])
    assert layout.called_splits == ["train", "val"]
    nested = layout_of([f"{split}/{name}/0.png" for split in ("train", "test") for name in ("train", "tram")], "x")
    assert ([*nested.splits], nested.classes) == (["train", "test"], ("train", "tram"))
    flat = layout_of(["train/0.png", "test/1.png", "unlabeled/2.png"], "x")  # STL-10's
    assert ([*flat.splits], flat.classes, flat.beside) == (["train", "test"], (), ["unlabeled/2.png"])
    beside = layout_of(["train/a/0.png", "train/b/1.png", "test/a/2.png", "test/b/3.png", "docs/4.png"], "x")
    assert ([*beside.splits], beside.beside) == (["train", "test"], ["docs/4.png"])


def test_every_set_with_such_names_is_told(tmp_path: Path, lines: list[str]) -> None:
    """Only the first set of a process was."""
    for folder in ("p", "q"):
        names = ("seabus", "train", "tram", "val")
        write(tmp_path / folder, {f"{name}/0.png": png(80, 80, number) for number, name in enumerate(names)})
        assert photos(tmp_path / folder).class_names == names
    for folder in ("r", "s"):
        write(tmp_path / folder, classes("train", "test") | {"masks/a/0.png": png(80, 80, 99)})
        photos(tmp_path / folder)
    told = [line.removeprefix(f"{tmp_path}/") for line in lines if "taken for classes" in line]
    assert [line[:31] for line in told] == ["p: train, val are taken for cla", "q: train, val are taken for cla"]
    assert sum("1 images beside its splits train, test" in line for line in lines) == 2


def test_splits_may_lie_in_each_class_folder() -> None:
    names = [f"{label}/{split}/good/{index}.png" for label in "ab" for split in ("train", "test") for index in range(2)]
    layout = layout_of([*names, "b/masks/0.png"], "here")
    assert ([*layout.splits], layout.classes, layout.beside) == (["train", "test"], ("a", "b"), ["b/masks/0.png"])
    assert {whole.split("/")[1] for whole in layout.splits["test"].values()} == {"test"}
    in_one = layout_of(["a/train/0.png", "a/test/1.png", "b/2.png"], "here")
    assert ([*in_one.splits], in_one.classes) == (["train"], ("a", "b"))


@pytest.mark.parametrize("size", [20, 80])  # decoded into arrays, and as they are
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_split_without_class_folders_has_no_labels_beside_one_that_has(
    tmp_path: Path, lines: list[str], form: str, size: int
) -> None:
    """A labelled train and a flat test, as competitions give them, were refused."""
    files = {f"train/{label}/{number}.png": png(size, size, number) for label in "ab" for number in range(2)}
    files |= {f"test/{number}.png": png(size, size, 9 + number) for number in range(3)}
    files |= {f"val/images/{number}.png": png(size, size, 99 + number) for number in range(2)}
    source = packed(tmp_path / "s.zip", files) if form == "zip" else tmp_path / "s"
    if form == "folder":
        write(source, files)
    found = {split: photos(source, split) for split in ("train", "val", "test")}
    assert {split: (len(images), images.num_classes) for split, images in found.items()} == {
        "train": (4, 2),
        "val": (2, None),
        "test": (3, None),
    }
    assert found["train"].class_names == ("a", "b")
    assert isinstance(found["test"], ArrayImages) == (size == 20)
    assert any(line.endswith("test: 3 images without labels, as they lie in no class folders") for line in lines)
    with pytest.raises(DataError, match=r"a linear probe needs labelled sets.*train has 2 classes.*test has no"):
        check_same_classes("a linear probe", found["train"], found["test"])


def test_loose_images_among_class_folders_are_refused_in_each_split() -> None:
    assert layout_of(["train/0.png", "test/a/1.png", "test/b/2.png"], "x").classes == ("a", "b")
    for split in ("train", "test"):
        with pytest.raises(DataError, match=f"also loose images .{split}/0.png"):
            layout_of(["train/a/1.png", "train/b/2.png", "test/a/1.png", "test/b/2.png", f"{split}/0.png"], "x")


def test_a_damaged_image_refuses_the_splits_that_have_it(tmp_path: Path) -> None:
    """One in the test split refused the training split, too, of a set that is small enough to be decoded at once."""
    files = {
        f"{split}/{label}/{n}.png": png(20, 20, n) for split in ("train", "test") for label in "ab" for n in (0, 1)
    }
    write(tmp_path, files | {"test/b/1.png": b"no image"})
    for _ in range(2):
        assert isinstance(photos(tmp_path), ArrayImages)
        with pytest.raises(DataError, match=r"test/b/1.png is not an image that can be decoded"):
            photos(tmp_path, "test")


def test_splits_of_two_sets_are_refused() -> None:
    with pytest.raises(DataError, match="several sets, train2014/val2014, train2017/val2017"):
        layout_of([f"{split}{year}/0.png" for split in ("train", "val") for year in (2014, 2017)], "here")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_folder_that_all_images_share_is_no_class(tmp_path: Path, form: str) -> None:
    """An archive of one folder with ten class folders was a set of one class, and every probe of it right."""
    files = {f"flower_photos/c{label}/{index}.png": png(80, 80, index) for label in range(10) for index in range(2)}
    write(tmp_path / "f", files)
    zipped(tmp_path / "f.zip", tmp_path / "f", files)
    images = photos(tmp_path / ("f.zip" if form == "zip" else "f"))
    assert images.class_names == tuple(f"c{label}" for label in range(10))


def test_one_folder_of_loose_images_has_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "p", {f"holidays/{index}.png": png(80, 80, index) for index in range(3)})
    assert photos(tmp_path / "p").num_classes is None


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "p", classes("train", "Train", "test"))
    with pytest.raises(DataError, match="two folders for the split train, Train and train"):
        photos(tmp_path / "p")


def test_an_unknown_split_names_those_that_are_there_and_the_slice_that_would_do(tmp_path: Path) -> None:
    write(tmp_path / "p", classes("train", "test"))
    there = r"valid: train \(\d+ images\), test \(\d+ images\)"
    with pytest.raises(
        ConfigError, match=rf"unknown split 'val' of .*{there}.*train\[:90%\] .* train\[90%:\] to judge"
    ):
        photos(tmp_path / "p", "val")


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".tif", "TIFF"), (".TIFF", "TIFF"), (".gif", "GIF"), (".ppm", "PPM"), (".jfif", "JPEG"), (".jp2", "JPEG2000")],
)
def test_what_a_library_reads_is_read(tmp_path: Path, suffix: str, kind: str) -> None:
    from can.data.decode import decode_rgb

    write(tmp_path / "p", {f"0{suffix}": encoded(kind)})
    images = photos(tmp_path / "p")
    pixels = decode_rgb(images[0][0], "x")
    assert pixels.shape == (80, 90, 3)
    expected = np.asarray(Image.open(io.BytesIO(images[0][0])).convert("RGB"))
    np.testing.assert_allclose(pixels, expected, atol=2)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    told: list[str] = []
    for level in ("info", "warning"):
        monkeypatch.setattr(logging, level, lambda text, *values: told.append(text % values))
    listing._say.cache_clear()
    return told


def test_what_is_left_out_is_counted_and_said_once(tmp_path: Path, lines: list[str]) -> None:
    write(tmp_path / "p", {"0.png": png(80, 80), "1.heic": b"x", "2.HEIC": b"x", "notes": b"x", ".DS_Store": b"x"})
    os.mkfifo(tmp_path / "p" / "3.png")
    for _ in range(2):
        assert len(photos(tmp_path / "p")) == 1
    (line,) = lines
    assert line.endswith(": 2 .heic, 1 no regular files, 1 without suffix")


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path, lines: list[str]) -> None:
    write(tmp_path / "p", {name: content for name, content in classes("train", "val").items() if "val/b" not in name})
    assert photos(tmp_path / "p", "val").class_names == ("a", "b")
    assert "p validation has no images of 1 of 2 classes: b" in lines[0]


def test_a_name_that_ends_with_ZIP_and_an_archive_by_another_name_are_archives(tmp_path: Path) -> None:
    files = {"a/0.png": png(80, 80), "b\\1.png": png(80, 80, 1)}
    for name in ("S.ZIP", "photos"):
        assert photos(packed(tmp_path / name, files)).class_names == ("a", "b")
    (tmp_path / "photos.tar").write_bytes(b"x")
    with pytest.raises(DataError, match=r"photos\.tar is neither a folder nor a zip archive: unpack it"):
        photos(tmp_path / "photos.tar")


@pytest.mark.parametrize("before", ["./", "/", "../", ".\\"])
def test_names_in_an_archive_that_begin_with_no_folder_are_read(tmp_path: Path, before: str) -> None:
    """They were passed over as hidden, or all in one class without a name."""
    files = {f"{before}{label}/{index}.png": png(80, 80, index) for label in "ab" for index in range(2)}
    images = photos(packed(tmp_path / "s.zip", files))
    assert (len(images), images.class_names) == (4, ("a", "b"))
    assert {images[index][0] for index in range(4)} == set(files.values())


def test_links_are_followed_but_not_in_a_circle_and_one_to_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"p/a/0.png": png(80, 80), "elsewhere/1.png": png(80, 80, 1)})
    (tmp_path / "p" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "p" / "a" / "up").symlink_to(tmp_path / "p")
    assert photos(tmp_path / "p").class_names == ("a", "b")
    assert len(photos(tmp_path / "p")) == 2
    (tmp_path / "p" / "a" / "2.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"a/2\.png cannot be read \(No such file"):
        photos(tmp_path / "p")


def test_a_member_that_is_encrypted_or_too_large_is_named_before_anything_is_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "s.zip", {"a/0.png": png(80, 80), "b/1.png": png(80, 80, 1)})
    whole = path.read_bytes()
    directory = whole.index(b"PK\x01\x02")
    encrypted = bytearray(whole)
    encrypted[directory + 8] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(DataError, match=r"s\.zip/a/0\.png is encrypted"):
        photos(path)
    bomb = bytearray(whole)
    bomb[directory + 24 : directory + 28] = struct.pack("<I", 3_000_000_000)
    path.write_bytes(bomb)
    with pytest.raises(DataError, match=r"s\.zip/a/0\.png takes 3000 MB unpacked"):
        photos(path)


def test_a_member_is_unpacked_no_further_than_it_promises(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(50_000_000))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"s\.zip/0\.png cannot be read"):
        photos(path)


def test_an_image_of_too_many_pixels_is_one_line_before_it_takes_memory(tmp_path: Path) -> None:
    """14,000 x 14,000 black pixels of one bit are 24 KB."""
    header = struct.pack(">IIBBBBB", 14_000, 14_000, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(14_000 * 1751))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    write(tmp_path / "p", {"0.png": b"\x89PNG\r\n\x1a\n" + b"".join(parts)})
    with pytest.raises(DataError, match=r"0\.png is an image of 14000x14000 pixels, more than the 67 million"):
        photos(tmp_path / "p")


@pytest.mark.parametrize("size", [8, 80])
def test_a_set_whose_content_changed_under_the_same_names_and_sizes_is_another(tmp_path: Path, size: int) -> None:
    """Times of change stay, too, where a program sets them back."""
    before = {f"{label}/0.bmp": Image.new("RGB", (size, size), colour) for label, colour in (("a", 0), ("b", 255))}
    for name, image in before.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True)
        image.save(tmp_path / "p" / name)
    first = photos(tmp_path / "p")
    path = tmp_path / "p" / "a" / "0.bmp"
    about = path.stat()
    Image.new("RGB", (size, size), (9, 9, 9)).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    again = photos(tmp_path / "p")
    assert again.fingerprint != first.fingerprint
    if size == 8:
        assert 9 in again.images and 9 not in first.images
    shutil.copytree(tmp_path / "p", tmp_path / "copy")  # other times, inodes and order on the disk
    assert photos(tmp_path / "copy").fingerprint == again.fingerprint
    other = tmp_path / "other.bmp"
    Image.new("RGB", (size, size), (7, 7, 7)).save(other)
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(path)
    assert photos(tmp_path / "p").fingerprint not in (first.fingerprint, again.fingerprint)


def test_a_file_is_read_once_and_again_when_anything_of_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashes are kept by device, inode, size and times; by others of a damaged store or none at all, they are made."""
    read: list[str] = []
    hash_of = contents._hash_of
    monkeypatch.setattr(contents, "_hash_of", lambda path: (read.append(Path(path).name), hash_of(path))[1])
    monkeypatch.setattr(contents, "_SETTLED_NS", -(10**12))
    write(tmp_path / "p", {f"{index}.png": png(80, 80, index) for index in range(3)})
    prints = [photos(tmp_path / "p").fingerprint for _ in range(2)]
    assert sorted(read) == ["0.png", "1.png", "2.png"] and len(set(prints)) == 1
    (store,) = (tmp_path / "data" / "contents").glob("*.npz")
    for damage in (b"", store.read_bytes()[:-40]):
        store.write_bytes(damage)
        assert photos(tmp_path / "p").fingerprint == prints[0]
    assert len(read) == 9
    (tmp_path / "p" / "1.png").write_bytes(png(80, 80, 1))
    assert photos(tmp_path / "p").fingerprint == prints[0]
    assert read[9:] == ["1.png"]
    monkeypatch.setattr(contents, "_SETTLED_NS", 10**12)  # a file that is being written may change once more
    (tmp_path / "p" / "1.png").write_bytes(png(80, 80, 7))
    assert photos(tmp_path / "p").fingerprint == photos(tmp_path / "p").fingerprint != prints[0]
    assert read[10:] == ["1.png", "1.png"]


def test_names_that_are_no_unicode_are_read(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "p")
    for label in (b"a", b"caf\xe9"):
        os.makedirs(folder + b"/" + label)
        Path(os.fsdecode(folder + b"/" + label + b"/0.png")).write_bytes(png(80, 80))
    images = photos(tmp_path / "p")
    assert images.num_classes == 2
    assert {images[index][0] for index in range(2)} == {png(80, 80)}


def names_in(root: Path) -> list[str]:
    return sorted(file.name for file in listing.list_folder(root))


def test_what_several_links_lead_to_counts_once_under_the_same_name_everywhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "p", tmp_path / "outside"
    own = ["a/1.png", "a/2.png", "a/3.png", "b/4.png", "b/5.png", "b/6.png"]
    write(root, dict.fromkeys(own, b"an image"))
    (root / "a" / "to_b").symlink_to(root / "b")  # two folders that link to each other
    (root / "b" / "to_a").symlink_to(root / "a")
    assert names_in(root) == own
    (root / "a" / "0.png").symlink_to(root / "b" / "4.png")  # an image by another name
    os.link(root / "a" / "1.png", root / "b" / "7.png")  # of hard links, none is the other's
    assert names_in(root) == [*own, "b/7.png"]
    write(outside, {"deep/8.png": b"an image"})
    for name in ("z", "y"):
        (root / name).symlink_to(outside)
    (root / "x.png").symlink_to(outside / "deep" / "8.png")
    assert names_in(root) == [*own, "b/7.png", "x.png"]
    (root / "x.png").unlink()
    assert names_in(root) == [*own, "b/7.png", "y/deep/8.png"]


def test_links_that_double_at_each_of_sixteen_levels_are_followed_once(tmp_path: Path) -> None:
    for level in range(16):
        write(tmp_path, {f"p/{level}/1.png": b"an image"})
        for link in ("left", "right"):
            (tmp_path / "p" / str(level) / link).symlink_to(tmp_path / "p" / str(level + 1), target_is_directory=True)
    (tmp_path / "p" / "16").mkdir()
    assert len(names_in(tmp_path / "p" / "0")) == 16
