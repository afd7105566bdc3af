"""RandAugment's operations against Pillow, one by one, and how they are dealt out; random erasing's boxes."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from can.augment import normalize
from can.augment.rand_augment import FILL, OPERATIONS, apply, rand_augment, warp
from can.augment.random_erase import AREA, random_erase

HEIGHT, WIDTH = 20, 24
apply_jitted = jax.jit(apply)


def photo(seed: int = 0) -> np.ndarray:
    """uint8, smooth enough that a shift of half a pixel shows, with neither black nor white."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 230, (5, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def ours(image: np.ndarray, name: str, level: float) -> np.ndarray:
    x = jnp.asarray(image, jnp.float32).transpose(2, 0, 1)[None] / 255
    out = apply_jitted(x, jnp.array([OPERATIONS.index(name)]), jnp.array([level]))
    return np.asarray(out[0].transpose(1, 2, 0)) * 255


def pillow(image: np.ndarray, name: str, level: float) -> np.ndarray:
    """The same by Pillow; `level` is the magnitude / 10 with a sign."""
    pil, strength = Image.fromarray(image), abs(level)
    if name in ("brightness", "contrast", "color", "sharpness"):
        enhancer = getattr(ImageEnhance, name.capitalize())
        return np.asarray(enhancer(pil).enhance(max(0, 1 + 0.9 * level)))
    if name in ("autocontrast", "equalize"):
        return np.asarray(getattr(ImageOps, name)(pil))
    if name == "posterize":
        return np.asarray(ImageOps.posterize(pil, round(8 - 4 * strength)))
    assert name == "solarize"
    return np.asarray(ImageOps.solarize(pil, int(255 * (1 - strength))))


@pytest.mark.parametrize(
    ("name", "level"),
    [(name, level) for name in ("brightness", "contrast", "color", "sharpness") for level in (0.9, -0.9, 1.5, -1.5)]
    + [("autocontrast", 0.9), ("posterize", 0.5), ("posterize", -1.0), ("solarize", 0.4), ("solarize", -0.9)],
)
def test_each_arithmetic_operation_is_pillows(name, level):
    image = photo()
    found, expected = ours(image, name, level), pillow(image, name, level)
    assert np.abs(expected - image.astype(float)).max() > 2  # it does something to this image
    # Pillow rounds down to whole values, twice in contrast and colour (the grey, and the result).
    np.testing.assert_allclose(found, expected, atol=0 if name == "posterize" else 2.01, rtol=1e-6)


@pytest.mark.parametrize("size", [(28, 28), (64, 48)])
def test_equalize_is_pillows_to_the_value(size):
    """Also on the mostly black images of small sets, and on one value alone."""
    rng = np.random.default_rng(1)
    skewed = (255 * rng.uniform(size=(*size, 3)) ** 2).astype(np.uint8)
    black = np.where(rng.uniform(size=(*size, 3)) < 0.3, skewed, 0).astype(np.uint8)
    for image in (skewed, black, np.full((*size, 3), 7, np.uint8)):
        np.testing.assert_array_equal(np.round(ours(image, "equalize", 1.0)), pillow(image, "equalize", 1.0))


def test_the_identity_and_magnitude_zero_change_nothing():
    image = photo()
    np.testing.assert_allclose(ours(image, "identity", 1.0), image, atol=1e-3)
    for name in set(OPERATIONS) - {"autocontrast", "equalize"}:
        np.testing.assert_allclose(ours(image, name, 0.0), image, atol=1e-3, err_msg=name)


COS, SIN = np.cos(np.pi / 12), np.sin(np.pi / 12)  # half of 30 degrees
MATRICES = {  # at level 0.5, in Pillow's order: the place (x, y) of the result shows (ax + by + c, dx + ey + f)
    "shear_x": (1, 0.15, 0, 0, 1, 0),
    "shear_y": (1, 0, 0, 0.15, 1, 0),
    "translate_x": (1, 0, 0.5 * WIDTH * 150 / 331, 0, 1, 0),
    "translate_y": (1, 0, 0, 0, 1, 0.5 * HEIGHT * 150 / 331),
    "rotate": (COS, -SIN, 12 - 12 * COS + 10 * SIN, SIN, COS, 10 - 12 * SIN - 10 * COS),
}


@pytest.mark.parametrize("name", MATRICES)
def test_each_geometric_operation_is_pillows_bilinear_warp(name):
    image = photo()
    fill = tuple(round(255 * value) for value in FILL)
    resample = Image.Resampling.BILINEAR
    pil = Image.fromarray(image).transform(
        (WIDTH, HEIGHT), Image.Transform.AFFINE, MATRICES[name], resample, fillcolor=fill
    )
    found = ours(image, name, 0.5)
    np.testing.assert_allclose(found, np.asarray(pil), atol=1.01)
    assert not np.allclose(found, ours(image, name, -0.5), atol=5)


def test_rotation_is_pillows_rotate():
    turned = Image.fromarray(photo()).rotate(15, Image.Resampling.BILINEAR, fillcolor=(124, 116, 104))
    inner = (slice(5, -5), slice(5, -5))
    np.testing.assert_allclose(ours(photo(), "rotate", 0.5)[inner], np.asarray(turned)[inner], atol=1.01)


def test_warps_are_right_at_224_pixels():
    """Indices of the last pixels of a large batch are exact; a float32 place is off by 1e-5 pixels."""
    x = jax.random.uniform(jax.random.key(0), (2, 3, 224, 224))
    moved = warp(x, jnp.array([[[1.0, 0, -30], [0, 1, 20]]] * 2))
    np.testing.assert_allclose(moved[:, :, :-20, 30:], x[:, :, 20:, :-30], atol=1e-4)
    np.testing.assert_allclose(normalize(moved[:, :, :, :30].transpose(0, 2, 3, 1)), 0, atol=1e-5)


def test_every_image_draws_its_own_operation_of_fourteen():
    """One layer on copies of one image: each result is that of one operation, all occur, about equally often."""
    image = photo(3)
    copies = jnp.asarray(np.broadcast_to(image / 255, (1400, *image.shape)), jnp.float32)
    drawn = np.asarray(jax.jit(partial(rand_augment, layers=1, magnitude=9.0))(jax.random.key(1), copies)) * 255
    signed = [(name, level) for name in OPERATIONS for level in (0.9, -0.9)]
    possible = np.stack([ours(image, *one) for one in signed])
    distance = np.abs(drawn[:, None, ::3, ::3] - possible[None, :, ::3, ::3]).max(axis=(2, 3, 4))
    assert distance.min(axis=1).max() < 1e-2
    counts = np.bincount(distance.argmin(axis=1) // 2, minlength=len(OPERATIONS))
    assert counts.min() > 60
    assert counts.max() < 145


def test_two_layers_are_two_operations_in_turn_drawn_one_without_the_other():
    """Each result is one of the 784 that two signed operations can give, and hardly ever that of a single one."""
    image = photo(3)
    copies = jnp.asarray(np.broadcast_to(image / 255, (200, *image.shape)), jnp.float32)
    drawn = np.asarray(jax.jit(partial(rand_augment, layers=2, magnitude=9.0))(jax.random.key(2), copies)) * 255

    operation = jnp.repeat(jnp.arange(len(OPERATIONS)), 2)
    level = jnp.tile(jnp.array([0.9, -0.9]), len(OPERATIONS))
    once = apply_jitted(jnp.broadcast_to(copies[0].transpose(2, 0, 1), (28, 3, HEIGHT, WIDTH)), operation, level)
    twice = apply_jitted(jnp.repeat(once, 28, axis=0), jnp.tile(operation, 28), jnp.tile(level, 28))
    once, twice = (np.asarray(jnp.moveaxis(x, 1, -1)) * 255 for x in (once, twice))

    def distances(possible):  # means, for a value between two bytes may be rounded either way
        return np.stack([np.abs(drawn - one).mean(axis=(1, 2, 3)) for one in possible], axis=1)

    assert distances(twice).min(axis=1).max() < 0.1
    assert (distances(once).min(axis=1) > 0.5).mean() > 0.7  # the others have an identity among their two
    assert len(np.unique(distances(twice).argmin(axis=1) // 2)) > 100  # one operation twice would give 28 at most


def test_no_layers_change_nothing():
    images = jnp.asarray(np.stack([photo(seed) for seed in range(8)]), jnp.float32)[None] / 255
    np.testing.assert_array_equal(rand_augment(jax.random.key(2), images, 0, 9.0), images)


def test_random_erasing_fills_a_box_with_normal_noise():
    images = jnp.full((600, 28, 28, 3), 5.0)  # beyond any draw of the noise
    erased = np.asarray(random_erase(jax.random.key(0), images, 0.25))
    changed = (erased != 5.0).all(axis=-1)
    np.testing.assert_array_equal(changed, (erased != 5.0).any(axis=-1))  # all three channels of a pixel
    hit = changed.any(axis=(1, 2))
    assert hit.mean() == pytest.approx(0.25, abs=0.06)
    for mask in changed[hit]:
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        np.testing.assert_array_equal(mask, rows[:, None] & columns[None])  # a box
        assert AREA[0] - 0.01 < mask.mean() < AREA[1] + 0.03  # sides are whole pixels
    noise = erased[changed]
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert noise.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(random_erase(jax.random.key(0), images, 0.0), images)
