"""Noise on images of [0, 1]: each function takes images, a strength and a random generator."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "n height width 3"]


def gaussian(images: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Normal noise of the standard deviation `deviation` on every channel."""
    return images + rng.normal(0, deviation, images.shape)


def shot(images: Pixels, photons: float, rng: np.random.Generator) -> Pixels:
    """Poisson noise of a sensor that counts `photons` where the image is white; black stays black."""
    return rng.poisson(np.clip(images, 0, 1) * photons) / photons


def impulse(images: Pixels, share: float, rng: np.random.Generator) -> Pixels:
    """`share` of all values replaced by 0 or 1, salt and pepper."""
    draw = rng.uniform(size=images.shape)
    return np.where(draw < share / 2, 0.0, np.where(draw < share, 1.0, images))
