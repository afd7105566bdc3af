"""Eq. 1-3 of the paper and their weighting, as pure functions of arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from can.sharding import shard_rows


def info_nce(u: Float[Array, "2 images out"], temperature: float = 0.1, reduction: str = "mean") -> Float[Array, ""]:
    """Eq. 1: the contrastive loss of two views' unit-length projections, in nats.

    Each of the 2n projections is an anchor; its positive is the other view of its image, its negatives are exactly the
    2n - 2 projections of other images. Without information it is ln(2n - 1).

    In float32, its products too, which accelerators would round by default: Table 4 tells .014 nats apart.

    `reduction`: "mean" over the 2n anchors, as Eq. 1 has it; "sum" of the two views' means (twice as large).
    Raises ValueError for fewer than two images, which leave no negatives.
    """
    _, n, out = u.shape
    if n < 2:
        raise ValueError("InfoNCE needs at least 2 images a batch: one image has no negatives")
    u = u.astype(jnp.float32)
    rows = shard_rows(u.reshape(2 * n, out))  # a device has the similarities of its own anchors, and no others
    logits = jnp.matmul(rows, rows.T, precision=jax.lax.Precision.HIGHEST) / temperature
    logits = jnp.where(jnp.eye(2 * n, dtype=bool), -jnp.inf, logits)  # an anchor is not its own negative
    positive = jnp.sum(u[0] * u[1], axis=-1) / temperature
    loss = jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.tile(positive, 2))
    return 2 * loss if reduction == "sum" else loss


def reconstruction(
    masked: Float[Array, "batch masked patch_dim"],
    predicted: Float[Array, "batch masked patch_dim"],
    norm_pix: bool = False,
) -> Float[Array, ""]:
    """Eq. 2: squared error on the masked patches; as a mean over their pixels, the scale that Table 4 prints.

    0 if none is masked.
    `norm_pix`: targets are normalised by each patch's own mean and (unbiased) variance (He et al., 2022).
    """
    if masked.size == 0:
        return jnp.zeros(())
    if norm_pix:
        variance = jnp.var(masked, axis=-1, keepdims=True, ddof=1)
        masked = (masked - jnp.mean(masked, axis=-1, keepdims=True)) / jnp.sqrt(variance + 1e-6)
    return jnp.mean((masked - predicted) ** 2)


def denoising(
    noise: Float[Array, "batch visible patch_dim"], predicted: Float[Array, "batch visible patch_dim"]
) -> Float[Array, ""]:
    """Eq. 3: squared error of the predicted noise on the visible patches, as a mean over their pixels."""
    return jnp.mean((noise - predicted) ** 2)


class Weights(NamedTuple):
    """The weights of Sec. 3.5, which sum to 1."""

    infonce: float
    reconstruct: float
    denoise: float


def weights(lambda_infonce: float, lambda_reconstruct: float) -> Weights:
    """Sec. 3.5: the contrastive share, and how `lambda_reconstruct` divides the rest."""
    rest = 1 - lambda_infonce
    return Weights(lambda_infonce, rest * lambda_reconstruct, rest * (1 - lambda_reconstruct))


def smoothed_targets(
    labels: Int[Array, " batch"], classes: int, label_smoothing: float
) -> Float[Array, "batch classes"]:
    """One-hot targets; a share `label_smoothing` of each is spread over all classes (Szegedy et al., 2016)."""
    return jax.nn.one_hot(labels, classes) * (1 - label_smoothing) + label_smoothing / classes


def soft_cross_entropy(
    logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]
) -> Float[Array, ""]:
    """Softmax cross-entropy with probabilities as targets, in nats."""
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits.astype(jnp.float32)), axis=-1))


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Int[Array, " batch"], label_smoothing: float = 0.0
) -> Float[Array, ""]:
    """Softmax cross-entropy of labels, smoothed if asked for, in nats."""
    return soft_cross_entropy(logits, smoothed_targets(labels, logits.shape[-1], label_smoothing))
