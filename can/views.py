"""What the encoder is shown of an image: patches, half of them masked, with noise (paper, Sec. 3.1 and 3.4)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.errors import ConfigError


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


def random_order(key: PRNGKeyArray, batch: int, tokens: int) -> Int[Array, "batch tokens"]:
    """A random order of each image's patches: its first T' are visible, the rest masked (He et al., 2022).

    Argsort of uniform noise: each set of T' patches is equally likely, independently per image and view.
    """
    return jnp.argsort(jax.random.uniform(key, (batch, tokens)), axis=1)


def shuffle(
    patches: Float[Array, "batch tokens patch_dim"], order: Int[Array, "batch chosen"]
) -> Float[Array, "batch chosen patch_dim"]:
    """The patches that `order` names, in its order."""
    return jnp.take_along_axis(patches, order[:, :, None], axis=1)


def random_sigma(key: PRNGKeyArray, batch: int, sigma_max: float) -> Float[Array, " batch"]:
    """Noise levels ~ U(0, sigma_max), one an image and view (Sec. 3.4), in units of normalised pixels."""
    return jax.random.uniform(key, (batch,), maxval=sigma_max)
