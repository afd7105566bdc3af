"""CIFAR-10's published shifts, out of the files that their authors give: CIFAR-10.1, CIFAR-10-C and CIFAR-10H.

Nothing is fetched or copied: the files are memory-mapped where they lie, in `data_dir` or `data_dir/cifar10`.
"""

from __future__ import annotations

import functools
import hashlib
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from can.data.image_set import ArrayImages, Labels
from can.errors import DataError, first_line
from can.recipes.cifar10 import NAME
from can.recipes.cifar10_formats import CLASS_NAMES, SIDE

CIFAR10_C = "CIFAR-10-C"
SEVERITIES = 5
HOMES = {
    "cifar10_1": "github.com/modestyachts/CIFAR-10.1",
    "cifar10_c": "zenodo.org/record/2535967",
    "cifar10h": "github.com/jcpeterson/cifar-10h",
}
MIN_SHARE = 0.25  # of an image's annotators, for a label of CIFAR-10H to count
CIFAR10_1_IMAGES = 2000  # of v6; v4 has 2,021
# Of the test images, whose label is what most people chose: 99 % in the published file, a tenth in any other order.
MIN_AGREEMENT = 0.98


class _Place(NamedTuple):
    """An .npy file, or one within an uncompressed tar archive, which begins `offset` bytes after the archive."""

    path: Path
    name: str
    offset: int = 0


def load_cifar10_1(data_dir: Path) -> ArrayImages:
    """CIFAR-10.1 v6 (Recht et al., 2018): 2,000 new photographs, collected as CIFAR-10's were.

    Raises DataError if a file is missing or of another form, or has another number of images.
    """
    images, labels = (_file("cifar10_1", data_dir, [f"cifar10.1_v6_{what}.npy"]) for what in ("data", "labels"))
    found = _image_set("cifar10_1", "test", images, labels)
    if len(found) != CIFAR10_1_IMAGES:
        raise _other_form(images, f"the {CIFAR10_1_IMAGES:,} images of v6, but {len(found):,}")
    return found


def load_cifar10_c(data_dir: Path, kinds: Iterable[str], test_labels: Labels) -> dict[str, ArrayImages]:
    """CIFAR-10-C (Hendrycks & Dietterich, 2019): the test images under each of the `kinds` of damage, by kind.

    Each has 50,000 images: severity 1 of all test images, then severity 2, and so on to 5. They are read from the
    folder CIFAR-10-C or, where there is none, from CIFAR-10-C.tar, which need not be unpacked. `test_labels` are those
    of the test images.

    Raises DataError if a file is missing or of another form, or if the labels are not the test images', five times.
    """
    archives = [archive for folder in _folders(data_dir) if (archive := folder / f"{CIFAR10_C}.tar").is_file()]
    if archives and not any((folder / CIFAR10_C).is_dir() for folder in _folders(data_dir)):
        members = _members(archives[0])
    else:
        members = {}

    def place(name: str) -> _Place:
        file = f"{name}.npy"
        return members.get(file) or _file("cifar10_c", data_dir, [f"{CIFAR10_C}/{file}"])

    labels = place("labels")
    if not np.array_equal(_mapped(labels), np.tile(test_labels, SEVERITIES)):
        raise _other_form(labels, f"the labels of the {len(test_labels):,} test images, {SEVERITIES} times")
    return {kind: _image_set("cifar10_c", kind, place(kind), labels) for kind in kinds}


def read_cifar10h(data_dir: Path, test_labels: Labels) -> list[tuple[int, ...]]:
    """The labels of each test image that a quarter of its annotators or more chose: 0 to 4.

    CIFAR-10H (Peterson et al., 2019) has about 50 annotators an image, as counts or as shares, in the order of the test
    images, whose `test_labels` tell another order.

    Raises DataError if its file is missing, of another form, or in another order.
    """
    images = len(test_labels)
    place = _file("cifar10h", data_dir, ["cifar10h-probs.npy", "cifar10h-counts.npy"])
    mapped = _mapped(place)
    if mapped.shape != (images, len(CLASS_NAMES)) or mapped.dtype.kind not in "iuf":
        raise _other_form(place, f"the choices of people for {images:,} images and {len(CLASS_NAMES)} classes")
    chosen = np.asarray(mapped, np.float64)
    if not ((chosen >= 0).all() and np.isfinite(chosen).all() and (chosen.sum(1) > 0).all()):
        raise _other_form(place, f"the choices of people for {images:,} images, whole numbers or shares from 0 on")
    shares = chosen / chosen.sum(1, keepdims=True)
    agreement = float(np.mean(shares.argmax(1) == test_labels))
    if agreement < MIN_AGREEMENT:
        raise _other_form(
            place,
            f"CIFAR-10H in the order of the test images (what most people chose is the label of {agreement:.1%} of "
            f"them, not of {MIN_AGREEMENT:.0%} or more)",
        )
    return [tuple(np.flatnonzero(share >= MIN_SHARE).tolist()) for share in shares]


def _folders(data_dir: Path) -> tuple[Path, Path]:
    return data_dir, data_dir / NAME


def _file(name: str, data_dir: Path, files: list[str]) -> _Place:
    """The first of the files that is there."""
    for folder in _folders(data_dir):
        for file in files:
            if (path := folder / file).is_file():
                return _Place(path, str(path))
    archive = f" (or the whole {CIFAR10_C}.tar)" if name == "cifar10_c" else ""
    raise DataError(f"{name} has no file {' or '.join(files)}{archive} in {data_dir}: get it from {HOMES[name]}")


def _members(archive: Path) -> dict[str, _Place]:
    """Each file of the archive by its name, without its folder."""
    try:
        with tarfile.open(archive, "r:") as members:
            return {
                Path(member.name).name: _Place(archive, f"{member.name} in {archive}", member.offset_data)
                for member in members
            }
    except tarfile.TarError as error:
        raise DataError(f"{archive} is damaged ({error}): get it from {HOMES['cifar10_c']}") from error


def _mapped(place: _Place) -> np.ndarray:
    """The array, whose pages are read from disk when they are touched."""
    try:
        with place.path.open("rb") as file:
            file.seek(place.offset)
            version = np.lib.format.read_magic(file)
            # 3.0 is 2.0 with names of fields that are not Latin; what is read here has none.
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, columns_first, dtype = read(file)
            if dtype.hasobject:  # addresses in the memory of the process that wrote them: to read one ends this one
                raise _other_form(place, "numbers, but pickled Python objects")
            return np.memmap(file, dtype, "r", file.tell(), shape, "F" if columns_first else "C")
    except (OSError, ValueError, OverflowError, TypeError) as error:
        raise DataError(f"{place.name} is damaged ({first_line(error)}): get it again") from error


def _image_set(name: str, split: str, images_at: _Place, labels_at: _Place) -> ArrayImages:
    images, labels = _mapped(images_at), _mapped(labels_at)
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise _other_form(images_at, f"colour images of {SIDE}x{SIDE} pixels, a byte a value")
    if (
        labels.shape != images.shape[:1]
        or labels.dtype.kind not in "iu"
        or not np.isin(labels, range(len(CLASS_NAMES))).all()
    ):
        raise _other_form(labels_at, f"a label of 0 to {len(CLASS_NAMES) - 1} for each of {len(images):,} images")
    return ArrayImages(
        name=name,
        split=split,
        num_classes=len(CLASS_NAMES),
        class_names=CLASS_NAMES,
        fingerprint=_sha256(images_at, labels_at, tuple(at.path.stat().st_mtime_ns for at in (images_at, labels_at))),
        images=images,
        labels=labels.astype(np.int32),
    )


@functools.cache  # CIFAR-10-C is 2 GB, which a table would read for every run that it plans
def _sha256(images_at: _Place, labels_at: _Place, modified: tuple[int, ...]) -> str:
    """The digest of what both places hold; the times when their files were `modified` tell files of one name apart."""
    del modified
    digest = hashlib.sha256()
    for place in (images_at, labels_at):
        digest.update(np.ascontiguousarray(_mapped(place)).data)
    return digest.hexdigest()


def _other_form(place: _Place, expected: str) -> DataError:
    return DataError(f"{place.name} does not hold {expected}: get it again")
