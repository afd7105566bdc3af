"""Watermark-like overlays, as pictures from the web have them."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

View = UInt8[np.ndarray, "size size 3"]

_WORDS = ("SAMPLE", "preview", "stock", "(c) 2009", "PROOF", "demo", "photo", "COPY")


def watermarked(view: View, rng: np.random.Generator) -> View:
    """The view under a half-transparent word, a pattern of lines, or above a caption bar; light or dark."""
    size = view.shape[0]
    stamp = np.zeros((size, size), np.uint8)  # how much of the ink covers each pixel, of 255
    word = _WORDS[rng.integers(len(_WORDS))]
    ink = 255.0 if rng.uniform() < 0.7 else 0.0
    kind = rng.integers(3)
    if kind == 0:
        _write(stamp, word, (int(rng.integers(-4, 4)), int(rng.integers(size // 3, size))), rng.uniform(0.25, 0.45))
        strength = rng.uniform(0.4, 0.8)
    elif kind == 1:
        gap = int(rng.integers(7, 13))
        y, x = np.mgrid[:size, :size]
        slope = 1 if rng.uniform() < 0.5 else -1
        stamp[(x + slope * y + int(rng.integers(gap))) % gap == 0] = 255
        strength = rng.uniform(0.25, 0.5)
    else:
        bar = int(rng.integers(5, 9))
        view = view.copy()
        view[-bar:] = int(255 - ink)
        _write(stamp, word, (1, size - bar // 4), 0.04 * bar)
        strength = 1.0
    covered = strength * stamp[..., None] / 255
    return np.round(view * (1 - covered) + ink * covered).astype(np.uint8)


def _write(stamp: np.ndarray, word: str, place: tuple[int, int], scale: float) -> None:
    cv2.putText(stamp, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_AA)
