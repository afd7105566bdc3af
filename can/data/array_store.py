"""Small data sets on disk as plain .npy files, decoded once and memory-mapped ever after."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from can.data.image_set import ArrayImages, Images, Labels
from can.errors import DataError

META = "meta.json"


def write(
    folder: Path,
    splits: Mapping[str, tuple[Images, Labels | None]],
    class_names: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes each split's images and labels, their sha256 and `facts` about them into `folder`.

    Of the facts, `shares` are read back, see `ImageSet.shares`, and `num_classes`, of classes without names.
    """
    described = {}
    for split, (images, labels) in splits.items():
        np.save(folder / f"{split}-images.npy", images)
        if labels is not None:
            np.save(folder / f"{split}-labels.npy", labels)
        digest = _sha256(images, labels)
        described[split] = {"images": len(images), "labelled": labels is not None, "sha256": digest}
    meta = {"class_names": list(class_names), "splits": described, **(facts or {})}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n")


def read(folder: Path, name: str) -> dict[str, ArrayImages]:
    """The splits that `write` left in `folder`, memory-mapped.

    The first time in a process, their checksums are compared: a second for each GB.

    Raises:
      DataError: a file is missing, cut short, of another kind, or not what was written.
    """
    try:
        meta = json.loads((folder / META).read_text())
        return {split: _read_split(folder, name, split, meta) for split in meta["splits"]}
    except (OSError, EOFError, TypeError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is damaged ({error}): delete that folder, and it is prepared again") from error


def _read_split(folder: Path, name: str, split: str, meta: dict[str, Any]) -> ArrayImages:
    about = meta["splits"][split]
    images = np.load(folder / f"{split}-images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}-labels.npy") if about["labelled"] else None
    if len(images) != about["images"]:
        raise ValueError(f"{split} has {len(images)} images, not {about['images']}")
    if labels is not None and labels.shape != (len(images),):
        raise ValueError(f"{split} has labels of the shape {labels.shape} for {len(images)} images")
    _check_sha256(folder, split, about["labelled"], _state_of(folder, split), about["sha256"])
    return ArrayImages(
        name=name,
        split=split,
        num_classes=meta.get("num_classes", len(meta["class_names"])) if about["labelled"] else None,
        class_names=tuple(meta["class_names"]) if about["labelled"] else (),
        fingerprint=about["sha256"],
        images=images,
        labels=labels,
        shares=meta.get("shares", {}),
    )


@functools.cache
def _check_sha256(folder: Path, split: str, labelled: bool, state: tuple[tuple[int, ...], ...], expected: str) -> None:
    """Raises ValueError if the files in that state are not what was written."""
    images = np.load(folder / f"{split}-images.npy", mmap_mode="r")
    labels = np.load(folder / f"{split}-labels.npy") if labelled else None
    if _sha256(images, labels) != expected:
        raise ValueError(f"{split} is not what was written")


def _state_of(folder: Path, split: str) -> tuple[tuple[int, ...], ...]:
    """What a change of a split's files touches."""
    found = [path.stat() for path in sorted(folder.glob(f"{split}-*.npy"))]
    return tuple((about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns) for about in found)


def _sha256(images: Images, labels: Labels | None) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    for array in (images, labels):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
