"""`corruptions`: fifteen kinds of damage at five strengths, after Hendrycks & Dietterich (2019).

The kinds and their families are theirs. So are the strengths of CIFAR-10-C (`make_cifar_c.py`) of the kinds that take
the same numbers here: noise, zoom blur, brightness, contrast and JPEG compression. The others are computed in
another way, with strengths of about the same effect in pixels, and frost is drawn instead of photographed: numbers on
them compare our own models with each other and not with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from can.data.image_set import Images
from can.recipes.shifts import damage_blur as blur
from can.recipes.shifts import damage_digital as digital
from can.recipes.shifts import damage_noise as noise
from can.recipes.shifts import damage_weather as weather

Pixels = Float[np.ndarray, "n height width 3"]  # in [0, 1]
SEVERITIES = (1, 2, 3, 4, 5)

# name -> the function (images, strength, rng) and its strength at each severity
CORRUPTIONS: dict[str, tuple[Callable[..., Pixels], tuple[float, ...]]] = {
    "gaussian_noise": (noise.gaussian, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (noise.shot, (500.0, 250.0, 100.0, 75.0, 50.0)),
    "impulse_noise": (noise.impulse, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": (blur.defocus, (0.6, 0.8, 1.0, 1.3, 1.7)),
    "glass_blur": (blur.glass, (0.4, 0.5, 0.6, 0.8, 1.0)),
    "motion_blur": (blur.motion, (2.5, 3.0, 4.0, 5.0, 6.0)),
    "zoom_blur": (blur.zoom, (1.05, 1.10, 1.15, 1.20, 1.25)),
    "snow": (weather.snow, (0.10, 0.20, 0.25, 0.35, 0.45)),
    "frost": (weather.frost, (0.10, 0.16, 0.22, 0.28, 0.35)),
    "fog": (weather.fog, (0.20, 0.30, 0.40, 0.50, 0.60)),
    "brightness": (weather.brightness, (0.05, 0.10, 0.15, 0.20, 0.30)),
    "contrast": (digital.contrast, (0.75, 0.50, 0.40, 0.30, 0.15)),
    "elastic_transform": (digital.elastic, (0.6, 0.9, 1.2, 1.6, 2.0)),
    "pixelate": (digital.pixelate, (0.90, 0.75, 0.65, 0.50, 0.40)),
    "jpeg_compression": (digital.jpeg, (80.0, 65.0, 58.0, 50.0, 40.0)),
}


def corrupted(images: Images, name: str, severity: int, seed: int) -> Images:
    """The images with the damage `name` at a severity of 1 to 5; a function of the four arguments."""
    damage, strengths = CORRUPTIONS[name]
    rng = np.random.default_rng((seed, list(CORRUPTIONS).index(name), severity))
    damaged = damage(images.astype(np.float32) / 255, strengths[severity - 1], rng)
    return np.clip(np.round(255 * damaged), 0, 255).astype(np.uint8)
