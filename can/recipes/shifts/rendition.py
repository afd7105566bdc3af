"""`rendition`: posters of the test images, a few flat tones in colours that the things do not have."""

from __future__ import annotations

import cv2
import numpy as np

from can.data.image_set import Images

TONES = 4
SATURATION = (1.0, 2.0)


def rendered(images: Images, seed: int) -> Images:
    """Each image, smoothed by a 3x3 median, with other hues, more saturated, its brightness in `TONES` flat tones.

    Per image, all hues turn by one random angle, and all saturations are multiplied by one draw within `SATURATION`.
    Brightness is HSV's value; each tone is the middle of its range.
    """
    rng = np.random.default_rng(seed)
    out = np.empty_like(images)
    for index, image in enumerate(images):
        colours = cv2.cvtColor(cv2.medianBlur(image, 3), cv2.COLOR_RGB2HSV_FULL).astype(int)
        hue, saturation, value = np.moveaxis(colours, -1, 0)
        hue = (hue + rng.integers(256)) % 256
        saturation = np.minimum(saturation * rng.uniform(*SATURATION), 255).astype(int)
        value = (2 * (value * TONES // 256) + 1) * 256 // (2 * TONES)
        poster = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
        out[index] = cv2.cvtColor(poster, cv2.COLOR_HSV2RGB_FULL)
    return out
