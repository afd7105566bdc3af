"""Builds the offline mix: deterministic from its seed, listed with counts, shares and licences in manifest.json.

The balance of its images, and why:
- 24,000 views of clip art (6 or 7 of each picture that the caps leave): the widest range of things and styles.
- 16,000 crops of photographs and wallpapers: real textures, shading and colour; fewer, as there are only 20 of them.
- 25,000 training images of CIFAR-10 without labels (the first half, in the original order): the part that the
  evaluation's images are like, as a web-scale set would have some. The other half stays unseen, so that settings can
  be tuned on it.

Views that show nothing are dropped, equal ones are kept once, and what nearly equals a test image of CIFAR-10 is left
out, whichever part it comes from. The photographs that a shifted test set is made of have no part in it. 8 % of all
images get a watermark-like overlay. The order is shuffled before it is stored: every slice is a fair sample.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from absl import logging

from can.data import array_store
from can.data.image_set import ArrayImages
from can.data.prepared import prepare_once
from can.recipes.cifar10 import NAME as CIFAR10
from can.recipes.cifar10 import load_cifar10
from can.recipes.debian import unpacked
from can.recipes.near_copies import near_any, thumbnails
from can.recipes.offline_mix import clipart, photos
from can.recipes.offline_mix.duplicates import Picture, first_of_each, thin_out
from can.recipes.offline_mix.overlays import watermarked
from can.recipes.offline_mix.views import SIZE, View, clipart_view, photo_view, pyramid

NAME = "offline_mix"
VERSION = "3"
SEED = 2022
CLIPART_IMAGES, PHOTO_IMAGES, CIFAR10_IMAGES = 24_000, 16_000, 25_000
WATERMARKED = 0.08
AnyPicture = TypeVar("AnyPicture")
_CLIPART, _PHOTO, _OVERLAY, _ORDER = range(4)  # streams of random numbers


def load_offline_mix(data_dir: Path) -> dict[str, ArrayImages]:
    """The only split, `train`: unlabelled, 32x32 pixels; built under `data_dir` when it is not there yet.

    Raises:
      DataError: Debian's packages or CIFAR-10 cannot be had; says what to pass instead.
    """
    folder = prepare_once(data_dir / NAME / VERSION, lambda target: _build(data_dir, target))
    return array_store.read(folder, NAME)


def _build(data_dir: Path, target: Path) -> None:
    logging.info("preparing %s in %s (about a minute)", NAME, data_dir)
    cifar10 = load_cifar10(data_dir)  # the quickest to fail comes first
    with unpacked(photos.PACKAGE, data_dir, target) as package:
        found = photos.read_photos(package.folder)
        photographs, held_out, dropped = photos.split_photos(found)
        about_photos = _about(package.origin, photos.LICENSE, len(found), photographs, dropped)
        about_photos["held out"] = sorted(photo.path for photo in held_out)
    pyramids = [pyramid(photo.pixels) for photo in photographs]
    with unpacked(clipart.PACKAGE, data_dir, target) as package:
        pictures = list(clipart.read_pictures(package.folder))
        drawings, dropped = thin_out(pictures, **clipart.CAPS)
        about_clipart = _about(package.origin, clipart.LICENSE, len(pictures), drawings, dropped)
    del pictures
    parts: dict[str, list[View]] = {
        clipart.PACKAGE.name: _views(
            _CLIPART, CLIPART_IMAGES, [drawing.pixels for drawing in drawings], partial(clipart_view, pyramids)
        ),
        photos.PACKAGE.name: _views(_PHOTO, PHOTO_IMAGES, pyramids, photo_view),
        CIFAR10: list(cifar10["train"].images[:CIFAR10_IMAGES]),
    }
    about = {
        clipart.PACKAGE.name: about_clipart,
        photos.PACKAGE.name: about_photos,
        CIFAR10: {"origin": f"train[:{CIFAR10_IMAGES}], without labels", "license": "not stated by its authors"},
    }
    views = [view for part in parts.values() for view in part]
    source = np.repeat(np.array(list(parts)), [len(part) for part in parts.values()])  # of each view
    unique = first_of_each(views)
    tested = near_any(thumbnails([views[index] for index in unique]), thumbnails(cifar10["test"].images))
    chosen = np.random.default_rng((SEED, _ORDER)).permutation(unique[~tested])
    images = np.stack([views[index] for index in chosen])
    marks = np.random.default_rng((SEED, _OVERLAY))
    marked = np.flatnonzero(marks.uniform(size=len(images)) < WATERMARKED)
    for index in marked:
        images[index] = watermarked(images[index], marks)
    kept = Counter(source[chosen].tolist())
    shares = {name: round(kept[name] / len(images), 4) for name in parts}
    array_store.write(target, {"train": (images, None)}, facts={"shares": shares})
    like_tests = Counter(source[unique[tested]].tolist())
    manifest = {
        "name": NAME,
        "version": VERSION,
        "seed": SEED,
        "image_size": SIZE,
        "images": len(images),
        "watermarked": len(marked),
        "equal_images_dropped": len(views) - len(unique),
        "like_a_test_image_dropped": int(tested.sum()),
        "fingerprint": array_store.read(target, NAME)["train"].fingerprint,
        "sources": {
            name: {
                "views": len(part),
                "like_a_test_image_dropped": like_tests[name],
                "images": kept[name],
                "share": shares[name],
                **about[name],
            }
            for name, part in parts.items()
        },
    }
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _views(
    stream: int,
    total: int,
    pictures: Sequence[AnyPicture],
    draw: Callable[[AnyPicture, np.random.Generator], View | None],
) -> list[View]:
    """About `total` views, equally many of each picture, less those that came out nearly constant.

    Each picture has random numbers of its own, so that the threads' timing changes nothing.
    """

    def views_of(index: int) -> list[View]:
        rng = np.random.default_rng((SEED, stream, index))
        count = total * (index + 1) // len(pictures) - total * index // len(pictures)
        drawn = (draw(pictures[index], rng) for _ in range(count))
        return [view for view in drawn if view is not None]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [view for drawn in pool.map(views_of, range(len(pictures))) for view in drawn]


def _about(origin: str, license: str, found: int, kept: Sequence[Picture], dropped: Counter[str]) -> dict[str, Any]:
    """A source's entry in the manifest."""
    families = Counter(" ".join(picture.family).strip() for picture in kept)
    return {
        "origin": origin,
        "license": license,
        "pictures": found,
        "dropped": dict(sorted(dropped.items())),
        "kept": len(kept),
        "families": dict(sorted(families.items())),
    }
