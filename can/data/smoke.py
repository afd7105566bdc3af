"""The set of the smoke scale: ten kinds of drawn shapes and textures, from a seed, without files or network."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8

from can.data.image_set import ArrayImages

SIZE = 32  # pixels
IMAGES = 256  # in each split
_NOISE = 8.0  # standard deviation of the pixels, of 255

Plane = Float[np.ndarray, "height width"]
Mask = Bool[np.ndarray, "height width"]

# Each kind is the set of points (u, v) it covers; a shape fills about [-1, 1]^2, a texture has a period of about 1.
_KINDS: dict[str, Callable[[Plane, Plane], Mask]] = {
    "disc": lambda u, v: u**2 + v**2 < 1,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.8) < 0.25,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) < 0.85,
    "frame": lambda u, v: np.abs(np.maximum(np.abs(u), np.abs(v)) - 0.8) < 0.2,
    "triangle": lambda u, v: (v < 0.8) & (v > 2 * np.abs(u) - 0.9),
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) < 0.25) & (np.maximum(np.abs(u), np.abs(v)) < 1),
    "bar": lambda u, v: (np.abs(u) < 1.2) & (np.abs(v) < 0.3),
    "stripes": lambda u, v: np.sin(2 * np.pi * v) > 0,
    "checkers": lambda u, v: np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v) > 0,
    "dots": lambda u, v: np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v) > 0.8,
}


def load_smoke(data_dir: Path) -> dict[str, ArrayImages]:
    """The splits `train` and `test`, 256 images each of 32x32 pixels in ten balanced classes."""
    del data_dir  # nothing is kept on disk
    return {split: _draw_split(split, seed) for seed, split in enumerate(("train", "test"))}


@functools.lru_cache
def _draw_split(split: str, seed: int) -> ArrayImages:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(IMAGES, dtype=np.int32) % len(_KINDS))
    kinds = list(_KINDS.values())
    images = np.stack([_draw(kinds[label], rng) for label in labels])
    images.setflags(write=False)
    return ArrayImages(
        name="smoke",
        split=split,
        num_classes=len(_KINDS),
        class_names=tuple(_KINDS),
        fingerprint=hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
        images=images,
        labels=labels,
    )


def _draw(kind: Callable[[Plane, Plane], Mask], rng: np.random.Generator) -> UInt8[np.ndarray, "height width 3"]:
    """One image: the kind at a random place, size and angle, in one random colour on another, with noise."""
    grid = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(grid, grid)
    shift, scale, angle = rng.uniform(-0.25, 0.25, 2), rng.uniform(0.4, 0.7), rng.uniform(-0.4, 0.4)
    x, y = (x - shift[0]) / scale, (y - shift[1]) / scale
    covered = kind(np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y)
    ground = rng.uniform(0, 255, 3)
    ink = (ground + rng.uniform(80, 175, 3)) % 255  # every channel differs enough to be seen
    image = np.where(covered[..., None], ink, ground) + rng.normal(0, _NOISE, (SIZE, SIZE, 3))
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


SETS = {"smoke": load_smoke}
