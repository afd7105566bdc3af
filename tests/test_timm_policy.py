"""timm's RandAugment, as He et al. finetune with it: its own operations, its drawing of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from can.augment import timm_policy
from can.augment.timm_policy import OPERATIONS, apply, timm_rand_augment

PIXELS = np.random.default_rng(0).integers(20, 236, (4, 30, 50, 3), np.uint8)
IMAGES = jnp.asarray(PIXELS / 255, jnp.float32)


def applied(name: str, magnitude: float, done: bool = True) -> np.ndarray:
    """One operation on all images, as bytes."""
    count = len(PIXELS)
    operation, level = jnp.full(count, OPERATIONS.index(name)), jnp.full(count, magnitude / 10)
    out = apply(jnp.moveaxis(IMAGES, -1, 1), operation, level, jnp.full(count, done))
    return np.round(np.moveaxis(np.asarray(out), 1, -1) * 255).astype(int)


def by_pillow(change) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(pixels))) for pixels in PIXELS]).astype(int)


@pytest.mark.parametrize("magnitude", [0.5, 9, 10])
def test_operations_are_timms(magnitude: float) -> None:
    """Level -> argument as in timm's auto_augment.py, and Pillow's operations, which it calls."""
    added, bits = min(128, int(magnitude / 10 * 110)), 4 - int(magnitude / 10 * 4)
    threshold = 256 - min(256, int(magnitude / 10 * 256))
    table = np.array([min(255, value + added) if value < 128 else value for value in range(256)])
    np.testing.assert_array_equal(applied("solarize_add", magnitude), table[PIXELS])
    np.testing.assert_array_equal(applied("posterize", magnitude), PIXELS.astype(int) & (256 - 2 ** (8 - bits)))
    np.testing.assert_array_equal(applied("invert", magnitude), by_pillow(ImageOps.invert))
    solarized = by_pillow(lambda image: ImageOps.solarize(image, threshold))
    assert np.mean(applied("solarize", magnitude) != solarized) < 0.01  # at the very threshold


def test_what_is_not_done_leaves_the_image() -> None:
    count = len(OPERATIONS)
    images = jnp.moveaxis(jnp.broadcast_to(IMAGES[:1], (count, *IMAGES.shape[1:])), -1, 1)
    for done in (False, True):
        out = apply(images, jnp.arange(count), jnp.full(count, 0.9), jnp.full(count, done))
        changed = np.asarray((out != images).any(axis=(1, 2, 3)))
        assert changed.all() if done else not changed.any()


def test_translations_are_up_to_45_per_cent_of_the_side() -> None:
    moved = applied("translate_x", 10)
    shift = 0.45 * 50
    left, share = int(shift), shift - int(shift)
    row = PIXELS[0, 0, :, 0].astype(float)
    expected = (1 - share) * row[left : 50 - 1] + share * row[left + 1 :]
    np.testing.assert_allclose(moved[0, 0, : len(expected), 0], expected, atol=1)


def test_half_of_the_operations_are_done_and_magnitudes_vary() -> None:
    images = jnp.broadcast_to(IMAGES[:1], (400, *IMAGES.shape[1:]))
    once = timm_rand_augment(jax.random.key(0), images, 1, 9.0, 0.5)
    changed = np.asarray((once != images).any(axis=(1, 2, 3)))
    assert 0.4 < changed.mean() < 0.6
    assert len(np.unique(np.asarray(once).reshape(400, -1), axis=0)) > 100
    fixed = timm_rand_augment(jax.random.key(0), images, 1, 9.0, 0.0)
    assert len(np.unique(np.asarray(fixed).reshape(400, -1), axis=0)) <= 2 * len(OPERATIONS)
    assert timm_policy.PROBABILITY == 0.5
