"""The photos that a benchmark decodes."""

from __future__ import annotations

from can import data
from can.data.image_set import EncodedImages
from can.errors import DataError


def load_photos(folder: str, data_dir: str) -> EncodedImages:
    """Those in a folder or a .zip file. Raises DataError if they are kept decoded: small, and of one size."""
    photos = data.load(f"folder:{folder}", "train", data_dir=data_dir)
    if not isinstance(photos, EncodedImages):
        raise DataError(f"the images of {folder} are small and of one size: pass a --folder of photos")
    return photos
