"""Small data sets on disk as plain .npy files, decoded once and memory-mapped ever after."""

from __future__ import annotations

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

    Of the facts, `shares` are read back: see `ImageSet.shares`.
    """
    described = {}
    for split, (images, labels) in splits.items():
        digest = hashlib.sha256(repr(images.shape).encode())
        digest.update(np.ascontiguousarray(images).data)
        np.save(folder / f"{split}-images.npy", images)
        if labels is not None:
            digest.update(np.ascontiguousarray(labels).data)
            np.save(folder / f"{split}-labels.npy", labels)
        described[split] = {"images": len(images), "labelled": labels is not None, "sha256": digest.hexdigest()}
    meta = {"class_names": list(class_names), "splits": described, **(facts or {})}
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n")


def read(folder: Path, name: str) -> dict[str, ArrayImages]:
    """The splits that `write` left in `folder`, memory-mapped (pages are read from disk when they are touched).

    Raises:
      DataError: a file is missing, cut short or of another kind.
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
    return ArrayImages(
        name=name,
        split=split,
        num_classes=len(meta["class_names"]) if about["labelled"] else None,
        class_names=tuple(meta["class_names"]) if about["labelled"] else (),
        fingerprint=about["sha256"],
        images=images,
        labels=labels,
        shares=meta.get("shares", {}),
    )
