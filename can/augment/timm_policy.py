"""timm's policy `rand-m9-mstd0.5-inc1`, which He et al. (2022) finetune with: RandAugment as timm changed it.

It differs from `rand_augment` in these points:

- Fifteen operations: "invert" and "solarize_add" instead of the identity.
- Each is done with a probability of one half.
- The magnitude of each image's operation is drawn from a normal distribution, and cut off at 0 and 10.
- Posterize keeps 4 bits at magnitude 0 and none at 10. Translations are up to 0.45 of the side.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from can.augment import rand_augment as usual
from can.augment.rand_augment import PerImage, Planar

OPERATIONS = (
    "autocontrast",
    "equalize",
    "invert",
    "rotate",
    "posterize",
    "solarize",
    "solarize_add",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
PROBABILITY = 0.5
MAX_TRANSLATION = 0.45
MOST_ADDED = 110  # of 255: by solarize_add, to what is darker than 128
_OWN = ("invert", "posterize", "solarize_add")
# The same operation among the usual ones; what is done here is the identity there.
_USUAL = tuple(usual.OPERATIONS.index("identity" if name in _OWN else name) for name in OPERATIONS)


def timm_rand_augment(
    key: PRNGKeyArray,
    images: Float[Array, "*batch height width 3"],
    layers: int,
    magnitude: float,
    magnitude_std: float,
) -> Float[Array, "*batch height width 3"]:
    """`layers` operations in turn on each image of [0, 1], of magnitudes about `magnitude`, of 10."""
    flat = images.reshape(-1, *images.shape[-3:])
    keys, shape = jax.random.split(key, 4), (layers, len(flat))
    operations = jax.random.randint(keys[0], shape, 0, len(OPERATIONS))
    drawn = magnitude + magnitude_std * jax.random.normal(keys[1], shape)
    levels = jax.random.rademacher(keys[2], shape, jnp.float32) * jnp.clip(drawn, 0, 10) / 10
    done = jax.random.bernoulli(keys[3], PROBABILITY, shape)

    def layer(x: Array, choice: tuple[Array, Array, Array]) -> tuple[Array, None]:
        return apply(x, *choice), None

    planar, _ = lax.scan(layer, jnp.moveaxis(flat, -1, 1), (operations, levels, done))
    return jnp.moveaxis(planar, 1, -1).reshape(images.shape)


def apply(x: Planar, operation: Int[Array, " batch"], level: PerImage, done: Bool[Array, " batch"]) -> Planar:
    """One operation (its index in OPERATIONS) for each image where it is done, of strength |level| x 10."""

    def chosen(name: str) -> Array:
        return (operation == OPERATIONS.index(name))[:, None, None, None]

    moves = (operation == OPERATIONS.index("translate_x")) | (operation == OPERATIONS.index("translate_y"))
    stretched = jnp.where(moves, level * (MAX_TRANSLATION / usual.MAX_TRANSLATION), level)
    out = usual.apply(x, jnp.array(_USUAL)[operation], stretched)
    strength = jnp.abs(level)[:, None, None, None]
    out = jnp.where(chosen("invert"), 1 - x, out)
    out = jnp.where(chosen("posterize"), usual.posterize(x, 4 - jnp.floor(4 * strength)), out)
    added = jnp.floor(MOST_ADDED * strength) / 255
    out = jnp.where(chosen("solarize_add"), jnp.where(x < 128 / 255, jnp.minimum(x + added, 1), x), out)
    return jnp.where(done[:, None, None, None], out, x)
