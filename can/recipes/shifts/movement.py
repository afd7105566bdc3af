"""A random turn, shift and change of size of every image, which `v2` and `pose` have in common."""

from __future__ import annotations

import cv2
import numpy as np

from can.data.image_set import Images


def moved(images: Images, seed: int, *, max_angle: float, max_shift: float, scale: tuple[float, float]) -> Images:
    """Each image rotated about its middle, rescaled and shifted, each by a uniform draw.

    Pixels are interpolated bilinearly; beyond its border an image is mirrored.

    Args:
      images: of one size, square.
      seed: of all draws.
      max_angle: degrees, either way.
      max_shift: of the side, either way, along each axis.
      scale: the limits of the factor on the size.
    """
    side = images.shape[1]
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-max_angle, max_angle, len(images))
    scales = rng.uniform(*scale, len(images))
    shifts = rng.uniform(-max_shift * side, max_shift * side, (len(images), 2))
    centre = ((side - 1) / 2, (side - 1) / 2)
    out = np.empty_like(images)
    for index, image in enumerate(images):
        matrix = cv2.getRotationMatrix2D(centre, angles[index], scales[index])
        matrix[:, 2] += shifts[index]
        out[index] = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    return out
