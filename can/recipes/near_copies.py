"""Which images nearly equal one of others: by their thumbnails, so that a changed pixel or two hides no copy."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

NEAR = 8.0  # root mean square difference, of 255, of two images' 8x8 thumbnails
_CHUNK = 1024  # rows compared at once


def thumbnails(images: Iterable[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "n 192"]:
    """Each image at 8x8 pixels, as a row: what `near_any` compares."""
    small = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).reshape(-1) for image in images]
    return np.array(small, np.uint8).reshape(-1, 192)


def near_any(rows: UInt8[np.ndarray, "n 192"], others: UInt8[np.ndarray, "m 192"]) -> Bool[np.ndarray, " n"]:
    """Which of `rows` lie within `NEAR` of one of `others`."""
    near = np.zeros(len(rows), bool)
    if not len(others):
        return near
    # About zero, every sum below is a whole number under 2^24: exact in float32, on every machine.
    y = others.astype(np.float32) - 128
    halves = (y**2).sum(1) / 2
    for start in range(0, len(rows), _CHUNK):
        x = rows[start : start + _CHUNK].astype(np.float32) - 128
        # |x - y|^2 / 2 = |x|^2 / 2 - (x y - |y|^2 / 2)
        distances = (x**2).sum(1) / 2 - (x @ y.T - halves).max(1)
        near[start : start + _CHUNK] = 2 * distances < NEAR**2 * rows.shape[1]
    return near
