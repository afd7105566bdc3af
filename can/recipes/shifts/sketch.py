"""`sketch`: the outlines alone, dark strokes on white paper."""

from __future__ import annotations

import cv2
import numpy as np

from can.data.image_set import Images

ENLARGE = 4  # strokes are drawn at this multiple of the size, so that they are thin and smooth
BLUR = 0.35  # standard deviation in pixels of the original, before the gradient is taken
FULL_INK = 0.6  # share of the image's strongest gradient that is drawn black


def sketched(images: Images, seed: int) -> Images:
    """Each image's brightness gradient as ink; the seed is not needed, as nothing is drawn at random.

    The grey image is enlarged fourfold, blurred, and the length of its Sobel gradient divided by `FULL_INK` times its
    largest value is the ink, at most 1; shrunk again by averaging.
    """
    del seed
    side = images.shape[1]
    out = np.empty_like(images)
    for index, image in enumerate(images):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        large = cv2.resize(grey, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
        large = cv2.GaussianBlur(large, (0, 0), BLUR * ENLARGE)
        steepness = np.hypot(cv2.Sobel(large, cv2.CV_32F, 1, 0), cv2.Sobel(large, cv2.CV_32F, 0, 1))
        ink = np.clip(steepness / max(float(steepness.max()) * FULL_INK, 1e-6), 0, 1)
        paper = cv2.resize(255 * (1 - ink), (side, side), interpolation=cv2.INTER_AREA)
        out[index] = np.clip(np.round(paper), 0, 255).astype(np.uint8)[..., None]
    return out
