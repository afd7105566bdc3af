"""CIFAR-10 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 32x32 pixels; from zip archives, or through TFDS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from can.data.files import images_in_zips
from can.data.image_set import ImageSet
from can.data.small_sets import decode_if_small
from can.data.tfds_records import read_tfds
from can.errors import DataError

NAME = "cifar10"
_COUNTS = {"train": 50_000, "test": 10_000}


def load_cifar10(data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits `train` and `test`.

    Looked for as zip archives of `class/name.png` (cifar10_train*.zip, cifar10_test*.zip) in `data_dir` and in
    `data_dir/cifar10`, then as the prepared TFDS set.

    Raises:
      DataError: neither is there, or an archive is missing or damaged.
    """
    for folder in (data_dir, data_dir / NAME):
        archives = {split: sorted(folder.glob(f"{NAME}_{split}*.zip")) for split in _COUNTS}
        if all(archives.values()):
            splits = {split: images_in_zips(NAME, split, paths) for split, paths in archives.items()}
            for split, images in splits.items():
                if len(images) != _COUNTS[split]:
                    raise DataError(
                        f"the {NAME}_{split}*.zip files in {folder} hold {len(images)} images, not {_COUNTS[split]}: "
                        "put all parts there"
                    )
            return decode_if_small(splits, data_dir)
    try:
        return decode_if_small(read_tfds(NAME, data_dir), data_dir)
    except DataError as error:
        raise DataError(
            f"CIFAR-10 is not in {data_dir}: put cifar10_train*.zip and cifar10_test*.zip (class/name.png) there; "
            f"or prepare it with TFDS ({error})"
        ) from error
