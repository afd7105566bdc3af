"""Softmax attention with a derivative that keeps no attention matrix (Vaswani et al., 2017; Dao et al., 2022)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from can.flops import RECOMPUTED

# XLA's CPU backend is slow at products of many small matrices whose left factor is transposed. So with at most this
# many tokens, the attention matrix is computed a second time, transposed, for the gradients of keys and values. With
# more tokens that takes longer than it spares.
FEW_TOKENS = 16


@jax.custom_vjp
def attention(
    q: Float[Array, "heads tokens width"], k: Float[Array, "heads keys width"], v: Float[Array, "heads keys width"]
) -> Float[Array, "heads tokens width"]:
    """softmax(q kᵀ / sqrt(width)) v for each head of each image; `heads` counts the heads of all images.

    Keys and values are of the same tokens, which may be others than those of the queries.

    The softmax is in float32, the products in the type of the arguments. The backward pass keeps the logarithm of each
    row's sum and computes the attention matrix anew from it, as FlashAttention does: one small product more (three with
    few tokens), instead of arrays of `[heads, tokens, tokens]` in memory for each layer that is scanned over. (Of
    layers that are written out, XLA may find the scores of the two passes equal and keep the first.) To differentiate
    the softmax itself takes twice as long on a CPU at 196 tokens.
    """
    return _forward(q, k, v)[0]


def _forward(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, ...]]:
    scores = _scores(q, k)
    highest = jnp.max(scores, axis=-1, keepdims=True)
    weights = jnp.exp(scores - highest)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    out = (_product(weights.astype(v.dtype), v, 2, 1) / total).astype(v.dtype)
    return out, (q, k, v, out, highest + jnp.log(total))


def _backward(kept: tuple[Array, ...], gradient: Array) -> tuple[Array, Array, Array]:
    q, k, v, out, log_total = kept
    # The softmax's derivative needs sum(weights * gradient of weights), row by row; that is sum(out * gradient).
    mean = jnp.sum(out.astype(jnp.float32) * gradient, axis=-1, keepdims=True)
    weights, of_scores = _matrices(q, k, gradient, v, log_total, mean)
    if q.shape[1] <= FEW_TOKENS:
        with jax.named_scope(RECOMPUTED):
            log_total, mean = jnp.swapaxes(log_total, 1, 2), jnp.swapaxes(mean, 1, 2)
            weights, transposed = _matrices(k, q, v, gradient, log_total, mean)
        queries = 2  # the axis that counts them
    else:
        transposed, queries = of_scores, 1
    return (
        _product(of_scores, k, 2, 1).astype(q.dtype),
        _product(transposed, q, queries, 1).astype(k.dtype),
        _product(weights, gradient, queries, 1).astype(v.dtype),
    )


attention.defvjp(_forward, _backward)


def _matrices(
    q: Array, k: Array, gradient: Array, v: Array, log_total: Array, mean: Array
) -> tuple[Float[Array, "heads tokens keys"], Float[Array, "heads tokens keys"]]:
    """The softmax's weights, and the gradient of the unscaled scores q kᵀ.

    Both come out transposed if q and k, and gradient and v, are given in each other's places, and log_total and mean
    transposed.
    """
    with jax.named_scope(RECOMPUTED):
        scores = _scores(q, k)
    weights = jnp.exp(scores - log_total)
    of_scores = weights * (_product(gradient, v, 2, 2) - mean) / math.sqrt(q.shape[-1])
    return weights.astype(v.dtype), of_scores.astype(q.dtype)


def _scores(q: Array, k: Array) -> Array:
    return _product(q, k, 2, 2) / math.sqrt(q.shape[-1])


def _product(a: Array, b: Array, a_axis: int, b_axis: int) -> Array:
    """The product of each head's matrices over the named axes, in float32."""
    dimensions = (((a_axis,), (b_axis,)), ((0,), (0,)))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
