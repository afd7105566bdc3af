"""`rendition`: posters of the test images, a few flat tones in colours that nothing has."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
from jaxtyping import UInt8

from can.data.image_set import Images

TONES = 4


def rendered(images: Images, seed: int) -> Images:
    """Each image's brightness, smoothed by a 3x3 median, in `TONES` flat tones, each in a colour drawn at random.

    The colours of an image differ in hue, and in brightness they keep or reverse the order of the tones with equal
    probability.
    """
    rng = np.random.default_rng(seed)
    out = np.empty_like(images)
    for index, image in enumerate(images):
        grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 3)
        tone = np.minimum(grey.astype(int) * TONES // 256, TONES - 1)
        out[index] = _palette(rng)[tone]
    return out


def _palette(rng: np.random.Generator) -> UInt8[np.ndarray, "tones 3"]:
    hues, saturations = rng.uniform(size=TONES), rng.uniform(0.5, 1.0, TONES)
    values = np.linspace(0.15, 0.95, TONES)[:: rng.choice([-1, 1])]
    colours = [colorsys.hsv_to_rgb(*colour) for colour in zip(hues, saturations, values, strict=True)]
    return np.round(255 * np.array(colours)).astype(np.uint8)
