"""What the offline labelled sets share: identities on one side of the split, near copies dropped, a manifest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import UInt8

from can.data import array_store
from can.data.image_set import ArrayImages
from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.near_copies import near_any, thumbnails

SIZE = 32  # pixels
VERSION = "1"
MIN_IMAGES = 15  # of a class, in each split; classes with fewer are left out
MAX_IMAGES = 250  # of a class, in each split
MAX_ALIKE = 20  # of a class and an identity: a series of like drawings must not be half of a class
Image = UInt8[np.ndarray, "size size 3"]
Images = UInt8[np.ndarray, "n size size 3"]


@dataclass(frozen=True)
class Item:
    """A labelled image.

    Attributes:
      label: its class's name.
      identity: what it shows; all images of an identity lie on one side of the split.
      image: RGB, all of a set of one size.
      test: the side of the split, where the source's rule says it; None leaves it to `split_identities`.
    """

    label: str
    identity: str
    image: Image
    test: bool | None = None


@dataclass(frozen=True)
class Collected:
    """A source's items, and what its manifest says of them.

    Attributes:
      origins: the packages' files, with their versions.
      license: of the pictures.
      rule: in words, what an identity is and how the sides are chosen.
      drop_near_copies: whether test images that nearly equal a training image are dropped.
      seen: thumbnails of pictures in the pre-training mix; images that nearly equal one are dropped.
      dropped: what the source has dropped, by reason.
    """

    items: Sequence[Item]
    origins: Sequence[str]
    license: str
    rule: str
    drop_near_copies: bool = True
    seen: UInt8[np.ndarray, "seen 192"] | None = None
    dropped: Counter[str] = field(default_factory=Counter)


def load_offline_set(name: str, data_dir: Path, collect: Callable[[Path, Path], Collected]) -> dict[str, ArrayImages]:
    """The splits `train` and `test`, built under `data_dir/offline_sets` when they are not there yet.

    Args:
      name: of the set.
      data_dir: where packages are kept too.
      collect: makes the items of `data_dir` and a folder for temporary files.

    Raises:
      DataError: what it is made of cannot be had; says what to do.
    """

    def build(target: Path) -> None:
        logging.info("preparing %s in %s", name, data_dir)
        write(name, collect(data_dir, target), target)

    return array_store.read(prepare_once(data_dir / "offline_sets" / name / VERSION, build), name)


def write(name: str, collected: Collected, target: Path) -> None:
    """Splits the items and writes both splits and manifest.json into `target`."""
    dropped = Counter(collected.dropped)
    items = _once(collected.items, dropped)
    if collected.seen is not None:
        mixed = near_any(thumbnails([item.image for item in items]), collected.seen)
        dropped["like a picture of the pre-training mix"] += int(mixed.sum())
        items = [item for item, seen in zip(items, mixed, strict=True) if not seen]
    train, test = split_identities(name, items)
    if collected.drop_near_copies:
        copies = near_any(thumbnails([item.image for item in test]), thumbnails([item.image for item in train]))
        dropped["test images like a training image"] += int(copies.sum())
        test = [item for item, copy in zip(test, copies, strict=True) if not copy]
    train, test = (_capped(name, side, dropped) for side in (train, test))
    counts = {split: Counter(item.label for item in side) for split, side in (("train", train), ("test", test))}
    classes = sorted(label for label in counts["train"] if min(counts[split][label] for split in counts) >= MIN_IMAGES)
    left_out = sorted({item.label for item in items} - set(classes))
    if len(classes) < 2:
        raise DataError(f"{name} has {len(classes)} classes of {MIN_IMAGES} images: its packages have changed")
    splits = {
        split: _arrays([item for item in side if item.label in classes], classes)
        for split, side in (("train", train), ("test", test))
    }
    array_store.write(target, splits, tuple(classes))
    manifest: dict[str, Any] = {
        "name": name,
        "version": VERSION,
        "origins": list(collected.origins),
        "license": collected.license,
        "rule": collected.rule,
        "images": {split: {label: counts[split][label] for label in classes} for split in counts},
        "classes_left_out": left_out,
        "dropped": dict(sorted(dropped.items())),
        "fingerprints": {split: part.fingerprint for split, part in array_store.read(target, name).items()},
    }
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def split_identities(name: str, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Training and test items: no identity in both, and of each class about half in either.

    Identities are taken in the order of a hash, and each goes to the side that has fewer images of its class, unless
    the items say the side themselves.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.identity, []).append(item)
    sides: tuple[list[Item], list[Item]] = ([], [])
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for identity in sorted(groups, key=lambda identity: _hash(name, identity)):
        group = groups[identity]
        label = Counter(item.label for item in group).most_common(1)[0][0]
        side = int(counts[1][label] < counts[0][label]) if group[0].test is None else int(group[0].test)
        sides[side].extend(group)
        counts[side].update(item.label for item in group)
    return sides


def _once(items: Iterable[Item], dropped: Counter[str]) -> list[Item]:
    """The items without equal images."""
    first: dict[bytes, Item] = {}
    total = 0
    for total, item in enumerate(items, start=1):  # noqa: B007  (the count of the last turn)
        first.setdefault(hashlib.sha256(item.image.tobytes()).digest(), item)
    dropped["equal images"] += total - len(first)
    return list(first.values())


def _capped(name: str, items: Sequence[Item], dropped: Counter[str]) -> list[Item]:
    """At most `MAX_IMAGES` of each class and `MAX_ALIKE` of an identity, a fair sample that mixes the classes."""
    kept: list[Item] = []
    counts: Counter[Hashable] = Counter()
    for item in sorted(items, key=lambda item: _hash(name, hashlib.sha256(item.image.tobytes()).hexdigest())):
        alike = (item.label, item.identity)
        if counts[item.label] < MAX_IMAGES and counts[alike] < MAX_ALIKE:
            counts.update((item.label, alike))
            kept.append(item)
    dropped["over the caps"] += len(items) - len(kept)
    return kept


def _arrays(items: Sequence[Item], classes: Sequence[str]) -> tuple[Images, np.ndarray]:
    return np.stack([item.image for item in items]), np.array([classes.index(item.label) for item in items], np.int32)


def _hash(name: str, text: str) -> str:
    return hashlib.sha256(f"{name} {text}".encode()).hexdigest()
