"""Builds the offline mix: deterministic from its seed, listed with counts and licences in manifest.json.

The balance of its images, and why:
- 24,000 views of clip art (6 or 7 of each picture that the caps leave): the widest range of things and styles.
- 16,000 crops of photographs and wallpapers: real textures, shading and colour; fewer, as there are only 24 of them.
- 25,000 training images of Fashion-MNIST without labels (`train[:25000]` in TFDS's order, never test images): the part
  that the evaluation's images are like, as a web-scale set would have some. The other 35,000 stay unseen, so that
  settings can be tuned on them.

Views that show nothing are dropped, so that the set has a little less than their sum. 8 % of all images get a
watermark-like overlay. The order is shuffled before it is stored: every slice is a fair sample.
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
from can.offline_data.debian import unpacked
from can.offline_data.fashion_mnist import NAME as FASHION_MNIST
from can.offline_data.fashion_mnist import load_fashion_mnist
from can.offline_data.offline_mix import clipart, photos
from can.offline_data.offline_mix.duplicates import Picture, first_of_each, thin_out
from can.offline_data.offline_mix.overlays import watermarked
from can.offline_data.offline_mix.views import SIZE, View, clipart_view, enlarged, photo_view, pyramid

NAME = "offline_mix"
VERSION = "1"
SEED = 2022
CLIPART_IMAGES, PHOTO_IMAGES, FASHION_IMAGES = 24_000, 16_000, 25_000
WATERMARKED = 0.08
AnyPicture = TypeVar("AnyPicture")
_CLIPART, _PHOTO, _OVERLAY, _ORDER = range(4)  # streams of random numbers


def load_offline_mix(data_dir: Path) -> dict[str, ArrayImages]:
    """The only split, `train`: unlabelled, 32x32 pixels; built under `data_dir` when it is not there yet.

    Raises:
      DataError: Debian's packages cannot be had; says what to pass instead.
    """
    folder = prepare_once(data_dir / NAME / VERSION, lambda target: _build(data_dir, target))
    return array_store.read(folder, NAME)


def _build(data_dir: Path, target: Path) -> None:
    logging.info("preparing %s in %s (about a minute)", NAME, data_dir)
    fashion = load_fashion_mnist(data_dir)["train"]  # the quickest to fail comes first
    with unpacked(photos.PACKAGE, data_dir, target) as package:
        found = photos.read_photos(package.folder)
        photographs, dropped = thin_out(found, per_family=1, per_folder=len(found), per_likeness=1)
        about_photos = _about(package.origin, photos.LICENSE, len(found), photographs, dropped)
    pyramids = [pyramid(photo.pixels) for photo in photographs]
    with unpacked(clipart.PACKAGE, data_dir, target) as package:
        pictures = list(clipart.read_pictures(package.folder))
        drawings, dropped = thin_out(pictures, **clipart.CAPS)
        about_clipart = _about(package.origin, clipart.LICENSE, len(pictures), drawings, dropped)
    del pictures
    sources = {
        clipart.PACKAGE.name: (
            _views(_CLIPART, CLIPART_IMAGES, [drawing.pixels for drawing in drawings], partial(clipart_view, pyramids)),
            about_clipart,
        ),
        photos.PACKAGE.name: (_views(_PHOTO, PHOTO_IMAGES, pyramids, photo_view), about_photos),
        FASHION_MNIST: (
            [enlarged(image) for image in fashion.images[:FASHION_IMAGES]],
            {"origin": f"train[:{FASHION_IMAGES}], without labels", "license": "MIT"},
        ),
    }
    views = [view for part, _ in sources.values() for view in part]
    unique = first_of_each(views)
    images = np.stack([views[index] for index in np.random.default_rng((SEED, _ORDER)).permutation(unique)])
    marks = np.random.default_rng((SEED, _OVERLAY))
    marked = np.flatnonzero(marks.uniform(size=len(images)) < WATERMARKED)
    for index in marked:
        images[index] = watermarked(images[index], marks)
    array_store.write(target, {"train": (images, None)})
    manifest = {
        "name": NAME,
        "version": VERSION,
        "seed": SEED,
        "image_size": SIZE,
        "images": len(images),
        "watermarked": len(marked),
        "equal_images_dropped": len(views) - len(unique),
        "fingerprint": array_store.read(target, NAME)["train"].fingerprint,
        "sources": {name: {"views": len(part), **about} for name, (part, about) in sources.items()},
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
