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
    share_of: str = "pair",
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """Each image and its target, mixed with those of the image that is as far from the other end of the batch.

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha), from which each pair draws its own share, or with
    `share_of="batch"` the whole batch draws one share and one box (timm's default, He et al.'s); 0 switches one off.
    With both on, a fair coin decides for the whole batch (as in timm).
    """
    if mixup == 0 and cutmix == 0:
        return images, targets
    coin_key, share_key, box_key = jax.random.split(key, 3)
    if cutmix == 0:
        return blend(share_key, images, targets, mixup, share_of)
    if mixup == 0:
        return paste(share_key, box_key, images, targets, cutmix, share_of)
    return jax.lax.cond(
        jax.random.bernoulli(coin_key),
        lambda: blend(share_key, images, targets, mixup, share_of),
        lambda: paste(share_key, box_key, images, targets, cutmix, share_of),
    )


def blend(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch classes"],
    alpha: float,
    share_of: str = "pair",
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """Mixup: the weighted mean of both images, and of both targets."""
    share = _drawn(jax.random.beta(key, alpha, alpha, (len(images),)), share_of)
    wide = share[:, None, None, None]
    return wide * images + (1 - wide) * images[::-1], share[:, None] * targets + (1 - share[:, None]) * targets[::-1]


def paste(
    share_key: PRNGKeyArray,
    box_key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch classes"],
    alpha: float,
    share_of: str = "pair",
) -> tuple[Float[Array, "batch height width 3"], Float[Array, "batch classes"]]:
    """CutMix: a box of the other image replaces the same box, whose real share of the area weighs the targets.

    The box has the image's aspect ratio and a uniform centre; what reaches over the edge is cut off.
    """
    batch, height, width, _ = images.shape
    side = jnp.sqrt(1 - _drawn(jax.random.beta(share_key, alpha, alpha, (batch,)), share_of))
    centre = _drawn(jax.random.uniform(box_key, (batch, 2)), share_of)

    def covered(middle: Array, length: int) -> Array:
        low, high = middle * length - side * length / 2, middle * length + side * length / 2
        edges = jnp.arange(length)
        return (edges >= jnp.round(low)[:, None]) & (edges < jnp.round(high)[:, None])

    box = covered(centre[:, 0], height)[:, :, None] & covered(centre[:, 1], width)[:, None]  # [B, H, W]
    share = 1 - box.mean(axis=(1, 2))[:, None]
    return jnp.where(box[..., None], images[::-1], images), share * targets + (1 - share) * targets[::-1]


def _drawn(drawn: Float[Array, "batch ..."], share_of: str) -> Float[Array, "batch ..."]:
    """The same value for both images of a pair, that of the first, or for the whole batch."""
    if share_of == "batch":
        return jnp.broadcast_to(drawn[:1], drawn.shape)
    places = jnp.arange(len(drawn))
    return drawn[jnp.minimum(places, places[::-1])]
