"""Weather on images of [0, 1]: each function takes images, a strength and a random generator."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from can.recipes.shifts.damage_blur import motion

Pixels = Float[np.ndarray, "n height width 3"]
Planes = Float[np.ndarray, "n height width"]
_FLAKES = 0.1  # share of pixels in which a snowflake starts, at full strength
_STREAK = 4.0  # pixels


def snow(images: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """White flakes, streaked by the wind, over an image that the snowy light makes paler."""
    starts = rng.uniform(size=images.shape[:3]) < _FLAKES * strength
    flakes = motion(np.repeat(starts[..., None], 3, axis=-1).astype(np.float32), _STREAK, rng)
    grey = images.mean(-1, keepdims=True)
    pale = np.maximum(images, 0.5 * grey + 0.5 * strength)
    return (1 - strength) * images + strength * pale + np.clip(2.5 * flakes, 0, 1)


def frost(images: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """Bluish ice crystals, the ridges of a rough random surface, over a darkened image."""
    ridges = 1 - np.abs(2 * _fractal(images, rng, roughness=0.8) - 1)
    crystals = np.clip(ridges**4 + 0.15, 0, 1)[..., None] * np.array([0.85, 0.95, 1.0])
    return (1 - strength) * images + strength * 1.4 * crystals


def fog(images: Pixels, strength: float, rng: np.random.Generator) -> Pixels:
    """A light, smooth veil of changing density."""
    density = strength * (0.5 + 0.5 * _fractal(images, rng, roughness=0.5))[..., None]
    return (1 - density) * images + density * 0.9


def brightness(images: Pixels, added: float, rng: np.random.Generator) -> Pixels:
    """`added` to every value: over-exposure."""
    del rng
    return images + added


def _fractal(images: Pixels, rng: np.random.Generator, roughness: float) -> Planes:
    """A random surface in [0, 1] for each image: grids of 2, 4, 8, ... points, each `roughness` times as high."""
    n, height, width = images.shape[:3]
    surface = np.zeros((n, height, width), np.float32)
    points, amplitude = 2, 1.0
    while points <= max(height, width):
        grids = rng.uniform(-1, 1, (n, points, points)).astype(np.float32)
        surface += amplitude * np.stack(
            [cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) for grid in grids]
        )
        points, amplitude = 2 * points, amplitude * roughness
    low, high = surface.min((1, 2), keepdims=True), surface.max((1, 2), keepdims=True)
    return (surface - low) / (high - low)
