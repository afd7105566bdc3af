"""`v2`: the test images as if they were taken once more, a little turned, moved and scaled."""

from __future__ import annotations

import cv2
import numpy as np

from can.data.image_set import Images

MAX_ANGLE = 12.0  # degrees
MAX_SHIFT = 0.07  # of the side
SCALE = (0.85, 1.15)


def recaptured(images: Images, seed: int) -> Images:
    """Each image rotated, shifted and rescaled, each by a uniform draw within the limits above.

    Pixels are interpolated bilinearly; what lies outside the image repeats its edge.
    """
    side = images.shape[1]
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-MAX_ANGLE, MAX_ANGLE, len(images))
    scales = rng.uniform(*SCALE, len(images))
    shifts = rng.uniform(-MAX_SHIFT * side, MAX_SHIFT * side, (len(images), 2))
    centre = ((side - 1) / 2, (side - 1) / 2)
    out = np.empty_like(images)
    for index, image in enumerate(images):
        matrix = cv2.getRotationMatrix2D(centre, angles[index], scales[index])
        matrix[:, 2] += shifts[index]
        out[index] = cv2.warpAffine(
            image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return out
