"""Gradients of a method's loss: of the whole batch at once, or in parts that add up to the same (Gao et al., 2021).

Only `batch_loss` couples images, and it sees nothing of them but pooled tokens. So the parts are encoded twice: first
without gradients, to have the pooled tokens of all of them, whose own gradients then are those of the whole batch's
loss; and a second time, with gradients, from the pooled tokens backwards. What is kept for the backward pass is that
of one part. All negatives and batch statistics remain, and the price is one more forward pass of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray, Shaped

from can.methods import Batch, Method
from can.methods.method import Inputs, Loss, Metrics, add_losses


def gradients(
    graphdef: nnx.GraphDef, params: nnx.State, batch_stats: nnx.State, batch: Batch, key: PRNGKeyArray, parts: int = 1
) -> tuple[nnx.State, Metrics, nnx.State]:
    """The gradients of the loss with respect to `params`, what to log, and the new batch statistics.

    `parts`: how many parts the batch is encoded in, one after the other; must divide the number of images, and the
    method be `divisible`. It changes no number but by rounding.
    """

    def merged(params: nnx.State) -> Method:
        return nnx.merge(graphdef, params, batch_stats, copy=True)

    if parts > 1:
        inputs = {name: _divide(entry, parts) for name, entry in merged(params).inputs(batch, key).items()}
        return _in_parts(merged, params, inputs, parts)

    def loss_fn(params: nnx.State) -> tuple[Array, tuple[Metrics, nnx.State]]:
        method = merged(params)
        loss, metrics = method.loss(batch, key)
        return loss, (metrics, nnx.state(method, nnx.BatchStat))

    (_, (metrics, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return grads, metrics, batch_stats


def _in_parts(
    merged: Callable[[nnx.State], Method], params: nnx.State, inputs: Inputs, parts: int
) -> tuple[nnx.State, Metrics, nnx.State]:
    def pool(part: Inputs) -> Array:
        method = merged(params)
        return method.encoder.pool(method.encode(part))

    def batch_loss(params: nnx.State, pooled: Array) -> tuple[Array, tuple[Loss, nnx.State]]:
        method = merged(params)
        loss = method.batch_loss(_join(pooled))
        return loss[0], (loss, nnx.state(method, nnx.BatchStat))

    def part_loss(params: nnx.State, part: Inputs, pooled_grads: Array) -> tuple[Array, Loss]:
        method = merged(params)
        tokens = method.encode(part)
        loss = method.image_loss(tokens, part)
        # Its gradient is this part's share of the whole loss's: the chain rule through the pooled tokens. Not a dot
        # product, which accelerators would round.
        return loss[0] / parts + jnp.sum(pooled_grads * method.encoder.pool(tokens)), loss

    def add_part(grads: nnx.State, part: tuple[Inputs, Array]) -> tuple[nnx.State, Loss]:
        (_, loss), part_grads = jax.value_and_grad(part_loss, has_aux=True)(params, *part)
        return jax.tree.map(jnp.add, grads, part_grads), loss

    # Of a method without a batch_loss, the compiler drops the first pass: nothing uses its result.
    pooled = jax.lax.map(pool, inputs)  # [parts, rows / parts, D]
    with_aux = jax.value_and_grad(batch_loss, argnums=(0, 1), has_aux=True)
    (_, (of_batch, batch_stats)), (grads, pooled_grads) = with_aux(params, pooled)
    grads, of_parts = jax.lax.scan(add_part, grads, (inputs, pooled_grads))
    _, metrics = add_losses(jax.tree.map(jnp.mean, of_parts), of_batch)
    return grads, metrics, batch_stats


def _divide(x: Shaped[Array, "rows ..."], parts: int) -> Shaped[Array, "parts rows_of_part ..."]:
    """Part p has the rows p, p + parts, p + 2 parts, ...: some of each device's, so that none has to move."""
    return jnp.swapaxes(x.reshape(len(x) // parts, parts, *x.shape[1:]), 0, 1)


def _join(x: Shaped[Array, "parts rows_of_part ..."]) -> Shaped[Array, "rows ..."]:
    """The inverse of `_divide`."""
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])
