"""`folder:PATH`: a folder or zip archive of images; class subfolders give labels, loose files are unlabelled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from can.data.files import images_in_folder, images_in_zips
from can.data.image_set import ImageSet
from can.data.small_sets import decode_if_small
from can.errors import DataError

_SPLIT_NAMES = ("train", "val", "validation", "test")


def load_folder(path: Path, data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits of `path`: its subfolders if they are called train, val, validation or test, else all is `train`.

    Raises:
      DataError: the path does not exist, has no images, or its splits have different classes.
    """
    name = f"folder:{path}"
    if path.suffix == ".zip" and path.is_file():
        return decode_if_small({"train": images_in_zips(name, "train", [path])}, data_dir)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}: pass folder:PATH with the path of a folder or .zip file of images")
    inside = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if inside and set(inside) <= set(_SPLIT_NAMES):
        splits = {split: images_in_folder(name, split, path / split) for split in inside}
    else:
        splits = {"train": images_in_folder(name, "train", path)}
    classes = {images.class_names for images in splits.values()}
    if len(classes) > 1:
        raise DataError(f"the splits of {path} have different class folders: give each of {', '.join(splits)} the same")
    return decode_if_small(splits, data_dir)
