"""`folder:PATH`: a folder or zip archive of images; class subfolders give labels, loose files are unlabelled."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from can.data.formats.files import splits_in_folder, splits_in_zips
from can.data.image_set import EncodedImages, ImageSet
from can.data.small_sets import decode_if_small
from can.errors import DataError


def load_folder(path: Path, data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits of `path`, a folder or a zip archive: see `can.data.formats.layout`.

    Raises:
      DataError: the path does not exist, is neither, has no images, or one that cannot be read.
    """
    return decode_if_small(open_folder(f"folder:{path}", path, data_dir), data_dir)


def open_folder(name: str, path: Path, data_dir: Path) -> dict[str, EncodedImages]:
    """The splits of a folder or archive under `name`, with encoded images; errors as `load_folder`'s."""
    try:
        if path.is_dir():
            return splits_in_folder(name, path, data_dir)
        is_file = path.is_file()
    except (OSError, ValueError) as error:  # no permission; a name that cannot be one
        raise DataError(f"{path} cannot be read: {error}") from error
    if is_file and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        return splits_in_zips(name, [path])
    if path.exists():
        raise DataError(f"{path} is neither a folder nor a zip archive: unpack it and pass folder:PATH with its folder")
    raise DataError(f"there is no folder {path}: pass folder:PATH with the path of a folder or .zip file of images")
