"""`corruptions`: fifteen kinds of damage at five strengths, after Hendrycks & Dietterich (2019).

The kinds and their families are theirs; the strengths are ours, chosen for images of 28 to 32 pixels, and frost is
drawn instead of photographed. Numbers on them compare our own models with each other and not with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from can.data.image_set import Images
from can.offline_data.shifts import damage_blur as blur
from can.offline_data.shifts import damage_digital as digital
from can.offline_data.shifts import damage_noise as noise
from can.offline_data.shifts import damage_weather as weather

Pixels = Float[np.ndarray, "n height width 3"]  # in [0, 1]
SEVERITIES = (1, 2, 3, 4, 5)

# name -> the function (images, strength, rng) and its strength at each severity
CORRUPTIONS: dict[str, tuple[Callable[..., Pixels], tuple[float, ...]]] = {
    "gaussian_noise": (noise.gaussian, (0.06, 0.10, 0.15, 0.20, 0.28)),
    "shot_noise": (noise.shot, (120.0, 60.0, 25.0, 12.0, 6.0)),
    "impulse_noise": (noise.impulse, (0.02, 0.04, 0.07, 0.12, 0.20)),
    "defocus_blur": (blur.defocus, (0.8, 1.2, 1.6, 2.1, 2.7)),
    "glass_blur": (blur.glass, (0.6, 0.9, 1.2, 1.6, 2.0)),
    "motion_blur": (blur.motion, (3.0, 5.0, 7.0, 9.0, 12.0)),
    "zoom_blur": (blur.zoom, (1.10, 1.18, 1.26, 1.36, 1.48)),
    "snow": (weather.snow, (0.15, 0.25, 0.35, 0.45, 0.60)),
    "frost": (weather.frost, (0.20, 0.30, 0.40, 0.50, 0.60)),
    "fog": (weather.fog, (0.25, 0.40, 0.55, 0.70, 0.85)),
    "brightness": (weather.brightness, (0.10, 0.20, 0.30, 0.40, 0.50)),
    "contrast": (digital.contrast, (0.60, 0.45, 0.32, 0.22, 0.14)),
    "elastic_transform": (digital.elastic, (0.6, 0.9, 1.2, 1.6, 2.0)),
    "pixelate": (digital.pixelate, (0.70, 0.55, 0.45, 0.36, 0.29)),
    "jpeg_compression": (digital.jpeg, (40.0, 25.0, 15.0, 9.0, 5.0)),
}


def corrupted(images: Images, name: str, severity: int, seed: int) -> Images:
    """The images with the damage `name` at a severity of 1 to 5; a function of the four arguments."""
    damage, strengths = CORRUPTIONS[name]
    rng = np.random.default_rng((seed, list(CORRUPTIONS).index(name), severity))
    damaged = damage(images.astype(np.float32) / 255, strengths[severity - 1], rng)
    return np.clip(np.round(255 * damaged), 0, 255).astype(np.uint8)
