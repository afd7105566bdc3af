"""Fixed sinusoids: of a patch's place in the image, and of a noise level."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@functools.cache
def sincos_positions(grid: int, width: int, trained_grid: int | None = None) -> Float[np.ndarray, "tokens width"]:
    """2-D sin-cos position embeddings of a `grid` x `grid` image, row by row (He et al., 2022; MoCo-v3).

    The first half of the width encodes the column, the second half the row, each as [sin, cos] of width/4 frequencies
    10000**(-i / (width/4)).

    A `trained_grid` is that of the images an encoder was trained on: places are then those of the patches' centres in
    it, so that a finer grid covers the same image, as with the interpolated positions of Dosovitskiy et al. (2021).
    """
    scale = (trained_grid or grid) / grid
    places = (np.arange(grid) + 0.5) * scale - 0.5
    row, column = np.meshgrid(places, places, indexing="ij")
    frequency = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [place.reshape(-1, 1) * frequency for place in (column, row)]
    return np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)], axis=1).astype(np.float32)


def sinusoid(x: Float[Array, " n"], width: int) -> Float[Array, "n width"]:
    """Sinusoidal embedding of a real number, as of a position in Vaswani et al. (2017): [sin, cos] halves."""
    frequency = 10000.0 ** -(jnp.arange(width // 2) / (width // 2))
    angles = x[:, None] * frequency
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
