"""Makes a set in `imagenet2012`'s TFDS format out of your own photos, to try the paper's settings without ImageNet.

    python -m can.recipes.make_imagenet --folder=PHOTOS --data_dir=~/.cache/can

PHOTOS is a folder or a .zip file. If all its class subfolders are ImageNet's (n01440764, ...), they keep ImageNet's
labels; other subfolders, sorted (by value where all are numbers), become labels 0, 1, ..., which is printed; photos in
no subfolder get the labels 0 to 999 in turn.
Every n-th photo of the sorted list goes to the split `validation`, the others to `train`.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import tensorflow_datasets as tfds
from absl import logging

from can.data.decode import decode_rgb
from can.data.formats.files import whole_set
from can.data.formats.folder import open_folder
from can.data.formats.tfds_records import Examples, write_tfds
from can.data.image_set import EncodedImages
from can.data.prepared import prepare_once
from can.data.registry import DEFAULT_DATA_DIR
from can.errors import DataError, UserError
from can.system.places import folder

NAME, VERSION = "imagenet2012", "5.1.0"
WNIDS: tuple[str, ...] = tuple(tfds.core.tfds_path("datasets/imagenet2012/labels.txt").read_text().split())
_JPEG_QUALITY = 95  # of photos that come in another format


def make_imagenet(
    folder: Path, data_dir: Path, validation_every: int = 5, tell: Callable[[str], None] = logging.info
) -> Path:
    """Writes the photos of `folder` as `data_dir/imagenet2012/5.1.0`; returns that folder.

    Args:
      folder: a folder or .zip file of photos, see above for the labels.
      data_dir: where `load("imagenet2012", ...)` will look.
      validation_every: one photo in so many goes to `validation`, of every class in proportion.
      tell: is given a line that says which folder has which label, unless they are ImageNet's own.

    Raises:
      DataError: a set is there already, the photos are missing or damaged, or there are over 1000 classes.
    """
    target = data_dir / NAME / VERSION
    if target.exists():
        raise DataError(f"{target} exists already: delete it, or pass another --data_dir")
    if not folder.exists():
        raise DataError(f"there is no {folder}: pass --folder with a folder or .zip file of photos")
    photos = whole_set(open_folder(NAME, folder, data_dir), str(folder))
    if validation_every < 2 or len(photos) < validation_every:
        raise DataError(f"validation_every {validation_every} must lie in 2..{len(photos)}, the number of photos")
    labels = imagenet_labels(photos.class_names)
    if not set(photos.class_names) <= set(WNIDS):
        pairs = sorted(zip(labels, photos.class_names, strict=True))
        tell("labels: " + ", ".join(f"{label} is {folder}" for label, folder in pairs))
    by_class = sorted(range(len(photos)), key=lambda index: photos.label(index) or 0)
    held_out = set(by_class[validation_every - 1 :: validation_every])
    parts = {"train": sorted({*range(len(photos))} - held_out), "validation": sorted(held_out)}
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(WNIDS)),
            "file_name": tfds.features.Text(),
        }
    )

    def build(temporary: Path) -> None:
        splits = {split: lambda part=part: _examples(photos, labels, part) for split, part in parts.items()}
        write_tfds(NAME, VERSION, temporary, features, splits)

    return prepare_once(target, build)


def imagenet_labels(classes: Sequence[str]) -> list[int]:
    """The label of each class folder: ImageNet's own of its names, else the place in order, of numbers by value."""
    if len(classes) > len(WNIDS):
        raise DataError(f"there are {len(classes)} class folders, {NAME} has {len(WNIDS)}: remove some")
    index_of = {wnid: index for index, wnid in enumerate(WNIDS)}
    if all(name in index_of for name in classes):
        return [index_of[name] for name in classes]
    numbers = all(name.isascii() and name.isdecimal() for name in classes)
    order = sorted(classes, key=lambda name: (int(name), name) if numbers else (0, name))
    return [order.index(name) for name in classes]


def _examples(photos: EncodedImages, labels: Sequence[int], part: Sequence[int]) -> Examples:
    for index in part:
        data, folder = photos[index]
        label = index % len(WNIDS) if folder is None else labels[folder]
        name = photos.describe(index)
        pixels = decode_rgb(data, name)  # a damaged photo must end this command, not a run of days
        if not data.startswith(b"\xff\xd8"):
            bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
        yield index, {"image": io.BytesIO(data), "label": label, "file_name": _in_unicode(Path(name).name)}


def _in_unicode(name: str) -> str:
    """A text with names of files, whose bytes that are not UTF-8 Python keeps as letters that cannot be written."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m can.recipes.make_imagenet", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--folder", type=folder, required=True, help="a folder or .zip file of photos")
    parser.add_argument("--data_dir", type=folder, default=DEFAULT_DATA_DIR, help="where data sets are kept")
    parser.add_argument("--validation_every", type=int, default=5, help="one photo in so many goes to validation")
    flags = parser.parse_args(arguments)
    try:
        target = make_imagenet(
            flags.folder, flags.data_dir, flags.validation_every, tell=lambda text: print(_in_unicode(text))
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    print(_in_unicode(f"wrote {target}: use it with --labelled={NAME} --data_dir={flags.data_dir}"))


if __name__ == "__main__":
    main()
