"""RandAugment (Cubuk et al., 2020): a few random operations on each image, as a batched function for the jitted step.

The usual fourteen operations; each image draws its own, with equal probabilities and with replacement. A magnitude of
10 is the strongest of the original's scale, on which the strengths are (torchvision's ranges):

- rotation 30 degrees, shear 0.3, translation 150/331 of the image's side, either way;
- brightness, contrast, colour and sharpness: a factor of 1 +- 0.9;
- posterize: 4 bits are left of 8; solarize: all pixels are inverted; identity, autocontrast, equalize: no strength.

Magnitudes above 10 go on along the same lines as far as they make sense: factors stay at 0 or more, one bit is left.

Every operation is computed for every image and one is selected: a switch under `vmap` does the same, but the five
geometric operations are one warp here, and the arithmetic ones fuse. Channels come first inside, as in `can.augment`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.augment.simclr import IMAGENET_MEAN, LUMA

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "brightness",
    "contrast",
    "color",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
MAX_ROTATION = math.pi / 6
MAX_SHEAR = 0.3
MAX_TRANSLATION = 150 / 331  # of the side; the original's 150 pixels at 331
MAX_ENHANCEMENT = 0.9
FILL = IMAGENET_MEAN  # of what a warp moves in from outside: zero once normalised
SMOOTH = 5 / 13, 1 / 13  # Pillow's blur for sharpness: the weight of the pixel and of each of its eight neighbours

Planar = Float[Array, "batch 3 height width"]
PerImage = Float[Array, " batch"]


def rand_augment(
    key: PRNGKeyArray, images: Float[Array, "*batch height width 3"], layers: int, magnitude: float
) -> Float[Array, "*batch height width 3"]:
    """`layers` random operations of strength `magnitude` (0 to 10, and beyond) on each image of [0, 1], in turn."""
    flat = images.reshape(-1, *images.shape[-3:])
    operation_key, sign_key = jax.random.split(key)
    operations = jax.random.randint(operation_key, (layers, len(flat)), 0, len(OPERATIONS))
    levels = jax.random.rademacher(sign_key, (layers, len(flat)), jnp.float32) * (magnitude / 10)

    def layer(x: Array, choice: tuple[Array, Array]) -> tuple[Array, None]:
        return apply(x, *choice), None

    # A scan, for XLA would fuse layers in a row into loops that evaluate the first many times over.
    planar, _ = lax.scan(layer, jnp.moveaxis(flat, -1, 1), (operations, levels))
    return jnp.moveaxis(planar, 1, -1).reshape(images.shape)


def apply(x: Planar, operation: Int[Array, " batch"], level: PerImage) -> Planar:
    """One operation (its index in OPERATIONS) for each image, of strength |level| x 10; the sign is its direction."""

    def chosen(*names: str) -> Array:
        indices = jnp.array([OPERATIONS.index(name) for name in names])
        return (operation[:, None] == indices).any(axis=1)[:, None, None, None]

    strength = jnp.abs(level)[:, None, None, None]
    out = lax.cond(chosen("equalize").any(), lambda: jnp.where(chosen("equalize"), equalize(x), x), lambda: x)
    out = jnp.where(chosen("autocontrast"), autocontrast(x), out)
    out = jnp.where(chosen("posterize"), posterize(x, jnp.maximum(8 - jnp.round(4 * strength), 1)), out)
    out = jnp.where(chosen("solarize"), jnp.where(x >= 1 - strength, 1 - x, x), out)
    out = jnp.where(chosen("brightness", "contrast", "color", "sharpness"), _enhance(x, level, chosen), out)
    warped = warp(x, _matrices(level, operation, *x.shape[2:]))
    return jnp.where(chosen("rotate", "shear_x", "shear_y", "translate_x", "translate_y"), warped, out)


def autocontrast(x: Planar) -> Planar:
    """Stretches each channel to the whole of [0, 1]; a channel of one value stays."""
    low, high = x.min(axis=(2, 3), keepdims=True), x.max(axis=(2, 3), keepdims=True)
    return jnp.where(high > low, (x - low) / jnp.where(high > low, high - low, 1), x)


def equalize(x: Planar) -> Planar:
    """Makes each channel's histogram of 256 values flat, by Pillow's integer rule."""
    rows = _to_bytes(x).reshape(-1, x.shape[2] * x.shape[3])
    number = jnp.arange(len(rows))[:, None]
    histogram = jnp.zeros((len(rows), 256), jnp.int32).at[number, rows].add(1)
    last = jnp.take_along_axis(histogram, rows.max(axis=1, keepdims=True), axis=1)
    step = (rows.shape[1] - last) // 255
    below = jnp.cumsum(histogram, axis=1) - histogram
    table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
    equalized = jnp.take_along_axis(jnp.where(step > 0, table, jnp.arange(256)), rows, axis=1)
    return equalized.reshape(x.shape) / 255


def posterize(x: Planar, bits: Float[Array, "batch 1 1 1"]) -> Planar:
    """Keeps the highest `bits` of the eight of each value."""
    step = 2 ** (8 - bits)
    return jnp.floor(_to_bytes(x) / step) * step / 255


def warp(x: Planar, matrices: Float[Array, "batch 2 3"]) -> Planar:
    """Affine warp, bilinear, FILL outside, as Pillow's `transform(AFFINE)`.

    A matrix takes a place (x, y) of the result, in pixels from the corner, to the place in `x` that it shows.
    """
    batch, channels, height, width = x.shape
    rows, columns = jnp.meshgrid(jnp.arange(height) + 0.5, jnp.arange(width) + 0.5, indexing="ij")
    places = jnp.stack([columns, rows, jnp.ones_like(rows)]).reshape(3, -1)  # [3, H*W]
    source = jnp.einsum("bij,jp->bip", matrices, places, precision=lax.Precision.HIGHEST)
    across, down = source[:, 0], source[:, 1]  # [B, H*W]
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    left, top = jnp.floor(across - 0.5), jnp.floor(down - 0.5)
    share_right, share_below = across - 0.5 - left, down - 0.5 - top
    pixels = jnp.moveaxis(x.reshape(batch, channels, -1), 1, -1)  # three neighbours a gather

    def tap(down_by: int, right_by: int, weight: Array) -> Array:
        row = jnp.clip(top + down_by, 0, height - 1).astype(int)
        column = jnp.clip(left + right_by, 0, width - 1).astype(int)
        return weight[..., None] * jax.vmap(lambda image, place: image[place])(pixels, row * width + column)

    mixed = tap(0, 0, (1 - share_below) * (1 - share_right)) + tap(0, 1, (1 - share_below) * share_right)
    mixed += tap(1, 0, share_below * (1 - share_right)) + tap(1, 1, share_below * share_right)
    mixed = jnp.where(inside[..., None], mixed, jnp.array(FILL))
    return jnp.moveaxis(mixed, -1, 1).reshape(x.shape)


def _enhance(x: Planar, level: PerImage, chosen: Callable[..., Array]) -> Planar:
    """Moves the image away from, or towards, black, its mean grey, its grey, or its blurred self."""
    factor = jnp.maximum(1 + MAX_ENHANCEMENT * level, 0)[:, None, None, None]
    grey = jnp.tensordot(x, jnp.array(LUMA), axes=(1, 0))[:, None]
    anchor = jnp.where(chosen("contrast"), grey.mean(axis=(2, 3), keepdims=True), 0)
    anchor = jnp.where(chosen("color"), grey, anchor)
    anchor = jnp.where(chosen("sharpness"), _smooth(x), anchor)
    return jnp.clip(factor * x + (1 - factor) * anchor, 0, 1)


def _smooth(x: Planar) -> Planar:
    """A 3 x 3 blur; the outermost pixels stay, as in Pillow."""
    centre, neighbour = SMOOTH
    rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = x[:, :, 1:-1, 1:-1]
    return x.at[:, :, 1:-1, 1:-1].set(neighbour * sums + (centre - neighbour) * inner)


def _matrices(level: PerImage, operation: Int[Array, " batch"], height: int, width: int) -> Float[Array, "batch 2 3"]:
    """The warp of each image's geometric operation; the identity for the others.

    Rotations turn about the centre, shears keep the top or left edge.
    """

    def amount(name: str, most: float) -> Array:
        return jnp.where(operation == OPERATIONS.index(name), level * most, 0)

    angle = amount("rotate", MAX_ROTATION)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    middle_x, middle_y = width / 2, height / 2
    shift_x = amount("translate_x", MAX_TRANSLATION * width) + middle_x - cos * middle_x + sin * middle_y
    shift_y = amount("translate_y", MAX_TRANSLATION * height) + middle_y - sin * middle_x - cos * middle_y
    first = jnp.stack([cos, amount("shear_x", MAX_SHEAR) - sin, shift_x], axis=-1)
    second = jnp.stack([amount("shear_y", MAX_SHEAR) + sin, cos, shift_y], axis=-1)
    return jnp.stack([first, second], axis=1)


def _to_bytes(x: Planar) -> Int[Array, "batch 3 height width"]:
    return jnp.round(x * 255).astype(jnp.int32)
