"""Eq. 1-3 of the paper and their weighting, and the losses of other methods, as pure functions of arrays."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

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


def masked_pixels(
    masked: Float[Array, "batch masked patch_dim"], predicted: Float[Array, "batch masked patch_dim"]
) -> Float[Array, ""]:
    """SimMIM's loss (Xie et al., 2022, Sec. 3.3): absolute error of the masked patches, as a mean over their values."""
    return jnp.mean(jnp.abs(masked - predicted))


def token_prediction(
    logits: Float[Array, "batch masked codes"], tokens: Int[Array, "batch masked"]
) -> Float[Array, ""]:
    """BEiT's loss (Bao et al., 2022, Eq. 2): cross-entropy of the masked patches' tokens, in nats."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(log_p, tokens[..., None], axis=-1))


def alignment(
    predicted: Float[Array, "batch masked width"], encoded: Float[Array, "batch masked width"]
) -> Float[Array, ""]:
    """CAE's second loss (Chen et al., 2024): squared error of predicted tokens, as a mean; `encoded` is a constant."""
    encoded = jax.lax.stop_gradient(encoded.astype(jnp.float32))
    return jnp.mean((predicted.astype(jnp.float32) - encoded) ** 2)


def replaced_detection(logits: Float[Array, "batch tokens"], replaced: Bool[Array, "batch tokens"]) -> Float[Array, ""]:
    """CIM's RevDet (Fang et al., 2022): binary cross-entropy of which patches the generator replaced, in nats."""
    logits = logits.astype(jnp.float32)
    return jnp.mean(jax.nn.softplus(jnp.where(replaced, -logits, logits)))


def window_normalised(images: Float[Array, "batch size size 3"], window: int) -> Float[Array, "batch size size 3"]:
    """The target of CIM's ResPix: each value, less the mean of its window in its channel, over the window's deviation.

    The window is of `window` x `window` pixels around it; at the edges the image is mirrored.
    """
    before = window // 2
    padding = ((0, 0), (before, window - 1 - before), (before, window - 1 - before), (0, 0))

    def mean(x: Float[Array, "batch size size 3"]) -> Float[Array, "batch size size 3"]:
        x = jnp.pad(x, padding, mode="reflect")
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, window, window, 1), (1, 1, 1, 1), "VALID") / window**2

    centre = mean(images)
    variance = jnp.maximum(mean(images**2) - centre**2, 0)
    return (images - centre) / jnp.sqrt(variance + 1e-6)


def hit_rate(logits: Float[Array, "*rows codes"], tokens: Int[Array, "*rows"]) -> Float[Array, ""]:
    """The share of tokens that are the most probable code."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == tokens)


def perplexity(tokens: Int[Array, "*rows"], codes: int) -> Float[Array, ""]:
    """How many codes of equal frequency have the entropy of these tokens: 1 where there is nothing to predict."""
    share = jnp.bincount(tokens.reshape(-1), length=codes) / tokens.size
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(share, share)))


def keyed(
    q: Float[Array, "images out"],
    k: Float[Array, "images out"],
    temperature: float,
    same: Float[Array, "images out"] | None = None,
) -> Float[Array, ""]:
    """Cross-entropy of unit-length queries against a batch of keys; key i is query i's (He et al., 2020). In nats.

    In float32, as `info_nce`. Without information it is ln n. `same`: keys of the queries' own view, of which those of
    other images are further negatives. Raises ValueError for fewer than two images.
    """
    n = len(q)
    if n < 2:
        raise ValueError("a contrast needs at least 2 images a batch: one image has no negatives")
    q = shard_rows(q.astype(jnp.float32))
    logits = jnp.matmul(q, k.T, precision=jax.lax.Precision.HIGHEST) / temperature
    positive = jnp.diagonal(logits)
    if same is not None:
        more = jnp.matmul(q, same.T, precision=jax.lax.Precision.HIGHEST) / temperature
        logits = jnp.concatenate([logits, jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, more)], axis=1)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive)


def regression(p: Float[Array, "images out"], z: Float[Array, "images out"]) -> Float[Array, ""]:
    """Squared distance of unit vectors, 2 - 2 cos, as a mean over images (Grill et al., 2020); 2 for unrelated ones."""
    return jnp.mean(jnp.sum((p - z) ** 2, axis=-1))


def distillation(
    student: Float[Array, "views images prototypes"],
    teacher: Float[Array, "2 images prototypes"],
    centre: Float[Array, " prototypes"],
    student_temperature: float,
    teacher_temperature: float | Float[Array, ""],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """DINO's cross-entropy and the entropy of the teacher's targets, in nats (Caron et al., 2021).

    A mean over images and over the pairs of a teacher's view and another view of the student, whose first two are the
    teacher's. A loss that stays at ln K, with an entropy of ln K or of 0, is collapse.
    """
    targets = jax.nn.softmax((teacher - centre) / teacher_temperature, axis=-1)
    logs = jax.nn.log_softmax(student / student_temperature, axis=-1)
    pairs = -jnp.einsum("ank,bnk->ab", targets, logs, precision=jax.lax.Precision.HIGHEST) / student.shape[1]
    other = 1 - np.eye(len(targets), len(logs))
    entropy = -jnp.mean(jnp.sum(jax.scipy.special.xlogy(targets, targets), axis=-1))
    return jnp.sum(pairs * other) / other.sum(), entropy


def spread(u: Float[Array, "rows out"]) -> Float[Array, ""]:
    """How far unit vectors fill the sphere: sqrt(d) times the mean over dimensions of their standard deviation.

    About 1 if they are spread evenly, 0 if all are one: collapse.
    """
    return jnp.sqrt(u.shape[-1]) * jnp.mean(jnp.std(u, axis=0))
