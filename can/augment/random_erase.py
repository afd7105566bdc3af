"""Random erasing (Zhong et al., 2020): a random box of some images is replaced by noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

AREA = (0.02, 1 / 3)  # share of the image
ASPECT = (0.3, 1 / 0.3)  # height / width
CANDIDATES = 10  # draws until a box fits, as in timm; all at once, for rejection has no fixed number of steps


def random_erase(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], prob: float
) -> Float[Array, "batch height width 3"]:
    """With probability `prob` fills a box of each normalised image with standard normal noise, a draw for every value.

    The box's share of the area is uniform in AREA, the logarithm of its aspect ratio uniform in ASPECT, its place
    uniform. An image for which none of CANDIDATES fits stays as it is.
    """
    batch, height, width, _ = images.shape
    coin_key, shape_key, place_key, noise_key = jax.random.split(key, 4)
    u = jax.random.uniform(shape_key, (2, batch, CANDIDATES))
    pixels = height * width * (AREA[0] + (AREA[1] - AREA[0]) * u[0])
    low, high = np.log(ASPECT)
    ratio = jnp.exp(low + (high - low) * u[1])
    heights, widths = jnp.round(jnp.sqrt(pixels * ratio)), jnp.round(jnp.sqrt(pixels / ratio))
    fits = (heights > 0) & (heights < height) & (widths > 0) & (widths < width)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    box_height = jnp.take_along_axis(heights, first, axis=1)[:, 0]
    box_width = jnp.take_along_axis(widths, first, axis=1)[:, 0]
    place = jax.random.uniform(place_key, (2, batch))
    top = jnp.floor(place[0] * (height - box_height + 1))
    left = jnp.floor(place[1] * (width - box_width + 1))

    row, column = jnp.arange(height)[:, None], jnp.arange(width)[None]
    top, left, box_height, box_width = (v[:, None, None] for v in (top, left, box_height, box_width))
    box = (row >= top) & (row < top + box_height) & (column >= left) & (column < left + box_width)  # [B, H, W]
    erased = fits.any(axis=1) & (jax.random.uniform(coin_key, (batch,)) < prob)
    noise = jax.random.normal(noise_key, images.shape, images.dtype)
    return jnp.where((box & erased[:, None, None])[..., None], noise, images)
