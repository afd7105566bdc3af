"""Drawings with transparency: RGBA with the colours multiplied by alpha, as resizing needs them."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

Cutout = UInt8[np.ndarray, "height width 4"]

_VISIBLE = 8  # alpha, of 255


def premultiplied(decoded: np.ndarray) -> Cutout:
    """What OpenCV's IMREAD_UNCHANGED gave (grey, BGR or BGRA, 8 or 16 bits) as RGBA multiplied by alpha."""
    if decoded.dtype == np.uint16:
        decoded = (decoded >> 8).astype(np.uint8)
    if decoded.ndim == 2:
        return cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGBA)
    if decoded.shape[-1] == 3:
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGBA)
    return cv2.cvtColor(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), cv2.COLOR_RGBA2mRGBA)


def trimmed(cutout: Cutout) -> UInt8[np.ndarray, "rows columns 4"] | None:
    """The part that can be seen; None if it has less than two rows or columns."""
    rows, columns = (np.flatnonzero((cutout[..., 3] > _VISIBLE).any(axis)) for axis in (1, 0))
    if len(rows) < 2 or len(columns) < 2:
        return None
    return cutout[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def on_white(cutout: Cutout, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The drawing in the middle of a white square, as large as it fits."""
    height, width = cutout.shape[:2]
    scale = size / max(height, width)
    new = [max(1, round(side * scale)) for side in (width, height)]
    small = cv2.resize(cutout, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC).astype(np.int32)
    image = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - new[1]) // 2, (size - new[0]) // 2
    laid = small[..., :3] + 255 - small[..., 3:]
    image[top : top + new[1], left : left + new[0]] = laid.clip(0, 255)
    return image
