"""What the encoder is shown of an image: patches, half of them masked, with noise (paper, Sec. 3.1 and 3.4)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from can.errors import ConfigError

BLOCK_ASPECT = 0.3  # of a masked block, height to width, at the least; at the most its inverse (Bao et al., 2022)
BLOCK_TRIES = 32  # blocks drawn for an image: nearly always enough to mask as many patches as asked for


def patchify(images: Float[Array, "batch height width 3"], patch_size: int) -> Float[Array, "batch tokens patch_dim"]:
    """Splits images into T = (h/p)(w/p) patches, row by row; a patch is its p*p*3 values in (row, column, channel)."""
    batch, height, width, channels = images.shape
    rows, columns = height // patch_size, width // patch_size
    x = images.reshape(batch, rows, patch_size, columns, patch_size, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, -1)


def unpatchify(patches: Float[Array, "batch tokens patch_dim"], patch_size: int) -> Float[Array, "batch size size 3"]:
    """The inverse of `patchify` for square images."""
    batch, tokens, _ = patches.shape
    grid = round(tokens**0.5)
    x = patches.reshape(batch, grid, grid, patch_size, patch_size, 3)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, grid * patch_size, grid * patch_size, 3)


def num_visible(tokens: int, mask_rate: float) -> int:
    """T', the number of patches the encoder sees, when a share `mask_rate` of `tokens` is masked.

    Raises ConfigError if that leaves none visible.
    """
    visible = int(tokens * (1 - mask_rate) + 1e-6)  # rounded down, as He et al. do; 1e-6 forgives 0.3 * 10 = 2.999...
    if visible < 1:
        raise ConfigError(
            f"mask_rate {mask_rate:g} keeps {visible} of {tokens} patches: pass a --mask_rate between "
            f"0 and {1 - 1 / tokens:.3g}"
        )
    return visible


def num_masked(tokens: int, mask_rate: float, of: str = "patches") -> int:
    """How many of `tokens` a method masks that learns from them alone: the nearest whole number to the share.

    Raises ConfigError if that hides none, or leaves none visible.
    """
    masked = math.floor(tokens * mask_rate + 0.5)
    if not 0 < masked < tokens:
        raise ConfigError(
            f"mask_rate {mask_rate:g} hides {masked} of {tokens} {of}, and there must be hidden and visible ones: pass "
            f"a --mask_rate between {1 / tokens:.3g} and {1 - 1 / tokens:.3g}"
        )
    return masked


def random_order(key: PRNGKeyArray, batch: int, tokens: int) -> Int[Array, "batch tokens"]:
    """A random order of each image's patches: its first T' are visible, the rest masked (He et al., 2022).

    Argsort of uniform noise: each set of T' patches is equally likely, independently per image and view.
    """
    return jnp.argsort(jax.random.uniform(key, (batch, tokens)), axis=1)


def unit_order(key: PRNGKeyArray, batch: int, tokens: int, side: int) -> Int[Array, "batch tokens"]:
    """A random order of tokens in which units of `side` x `side` patches are masked whole (Xie et al., 2022).

    Raises ConfigError if the units do not divide the image.
    """
    grid = math.isqrt(tokens)
    if grid % side:
        raise ConfigError(f"units of {side}x{side} patches do not divide the {grid}x{grid} of an image")
    units = grid // side
    place = jnp.arange(tokens)
    unit = place // grid // side * units + place % grid // side
    rank = jnp.argsort(random_order(key, batch, units**2), axis=1)
    return jnp.argsort(rank[:, unit], axis=1, stable=True)


def block_order(key: PRNGKeyArray, batch: int, tokens: int, masked: int, min_area: int) -> Int[Array, "batch tokens"]:
    """An order of each image's patches, the last `masked` of which are rectangles put together (Bao et al., 2022).

    Rectangles of U(min_area, what is left to mask) patches, of any aspect ratio down to BLOCK_ASPECT, are drawn one
    after the other. One that covers nothing new, or more than is left, is passed over. Unlike Bao et al.'s, the count
    is exact: what BLOCK_TRIES rectangles leave unmasked is drawn at random.
    """
    grid = math.isqrt(tokens)
    fill_key, key = jax.random.split(key)
    places, steepest = jnp.arange(grid), math.log(BLOCK_ASPECT)

    def add_block(
        mask: Bool[Array, "batch grid grid"], key: PRNGKeyArray
    ) -> tuple[Bool[Array, "batch grid grid"], None]:
        u = jax.random.uniform(key, (4, batch))
        left = masked - jnp.sum(mask, axis=(1, 2))
        area, ratio = min_area + (left - min_area) * u[0], jnp.exp(steepest * (1 - 2 * u[1]))
        height, width = jnp.round(jnp.sqrt(area * ratio)), jnp.round(jnp.sqrt(area / ratio))
        top, start = jnp.floor(u[2] * (grid - height + 1)), jnp.floor(u[3] * (grid - width + 1))
        rows = (places >= top[:, None]) & (places < (top + height)[:, None])
        columns = (places >= start[:, None]) & (places < (start + width)[:, None])
        new = rows[:, :, None] & columns[:, None, :] & ~mask
        count = jnp.sum(new, axis=(1, 2))
        taken = (height < grid) & (width < grid) & (count <= left)
        return mask | (new & taken[:, None, None]), None

    mask, _ = jax.lax.scan(add_block, jnp.zeros((batch, grid, grid), bool), jax.random.split(key, BLOCK_TRIES))
    return jnp.argsort(mask.reshape(batch, tokens) + jax.random.uniform(fill_key, (batch, tokens)), axis=1)


def hidden_of(order: Int[Array, "batch tokens"], visible: int) -> Bool[Array, "batch tokens"]:
    """Which patches, in their places in the image, an order masks whose first `visible` are not."""
    return jnp.argsort(order, axis=1) >= visible


def shuffle(
    patches: Float[Array, "batch tokens patch_dim"], order: Int[Array, "batch chosen"]
) -> Float[Array, "batch chosen patch_dim"]:
    """The patches that `order` names, in its order."""
    return jnp.take_along_axis(patches, order[:, :, None], axis=1)


def random_sigma(key: PRNGKeyArray, batch: int, sigma_max: float) -> Float[Array, " batch"]:
    """Noise levels ~ U(0, sigma_max), one an image and view (Sec. 3.4), in units of normalised pixels."""
    return jax.random.uniform(key, (batch,), maxval=sigma_max)
