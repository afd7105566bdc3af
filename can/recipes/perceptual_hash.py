"""A number that near-identical pictures share: dHash."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8


def perceptual_hash(pixels: UInt8[np.ndarray, "height width channels"]) -> int:
    """dHash: 64 bits, each whether a cell of an 8x9 grey thumbnail is darker than its right neighbour.

    Args:
      pixels: RGB, or RGBA multiplied by alpha, which is laid on white.
    """
    grey = cv2.transform(pixels[..., :3].astype(np.float32), np.ones((1, 3), np.float32)) / 3  # exact sums
    if pixels.shape[-1] == 4:
        grey += 255 - pixels[..., 3]
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1] + 1).tobytes(), "big")
