"""Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019): pairs of images and of their labels are mixed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def mix(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch classes"],
    mixup: float,
    cutmix: float,
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """Each image and its target, mixed with those of the image that is as far from the other end of the batch.

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha), from which each pair draws its own share; 0 switches one
    off. With both on, a fair coin decides for the whole batch (as in timm).
    """
    if mixup == 0 and cutmix == 0:
        return images, targets
    coin_key, share_key, box_key = jax.random.split(key, 3)
    if cutmix == 0:
        return blend(share_key, images, targets, mixup)
    if mixup == 0:
        return paste(share_key, box_key, images, targets, cutmix)
    return jax.lax.cond(
        jax.random.bernoulli(coin_key),
        lambda: blend(share_key, images, targets, mixup),
        lambda: paste(share_key, box_key, images, targets, cutmix),
    )


def blend(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch classes"],
    alpha: float,
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """Mixup: the weighted mean of both images, and of both targets."""
    share = _shares(key, len(images), alpha)
    wide = share[:, None, None, None]
    return wide * images + (1 - wide) * images[::-1], share[:, None] * targets + (1 - share[:, None]) * targets[::-1]


def paste(
    share_key: PRNGKeyArray,
    box_key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch classes"],
    alpha: float,
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """CutMix: a box of the other image replaces the same box, whose real share of the area weighs the targets.

    The box has the image's aspect ratio and a uniform centre; what reaches over the edge is cut off.
    """
    batch, height, width, _ = images.shape
    side = jnp.sqrt(1 - _shares(share_key, batch, alpha))
    centre = _both(jax.random.uniform(box_key, (batch, 2)))

    def covered(middle: Array, length: int) -> Array:
        low, high = middle * length - side * length / 2, middle * length + side * length / 2
        edges = jnp.arange(length)
        return (edges >= jnp.round(low)[:, None]) & (edges < jnp.round(high)[:, None])

    box = covered(centre[:, 0], height)[:, :, None] & covered(centre[:, 1], width)[:, None]  # [B, H, W]
    share = 1 - box.mean(axis=(1, 2))[:, None]
    return jnp.where(box[..., None], images[::-1], images), share * targets + (1 - share) * targets[::-1]


def _shares(key: PRNGKeyArray, batch: int, alpha: float) -> Float[Array, " {batch}"]:
    return _both(jax.random.beta(key, alpha, alpha, (batch,)))


def _both(drawn: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """The same value for both images of a pair: that of the first."""
    places = jnp.arange(len(drawn))
    return drawn[jnp.minimum(places, places[::-1])]
