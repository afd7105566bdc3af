"""Gradients of a method's loss: of the whole batch at once, or in parts that add up to the same (Gao et al., 2021).

Only `whole_batch` couples images, and it sees nothing of them but the features that `each_image` returns. So the parts
are encoded twice: first without gradients, to have the features of all of them, whose own gradients then are those of
the whole batch's loss; and a second time, with gradients, from the features backwards. What is kept for the backward
pass is that of one part. All negatives and batch statistics remain, and the price is one more forward pass of what
makes the features.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray, Shaped

from can.methods import Batch, Method
from can.methods.kinds import split_method
from can.methods.method import Features, Inputs, Metrics


def gradients(
    graphdef: nnx.GraphDef, params: nnx.State, other: nnx.State, batch: Batch, key: PRNGKeyArray, parts: int = 1
) -> tuple[nnx.State, Metrics, nnx.State]:
    """The gradients of the loss with respect to `params`, what to log, and the new state of all else.

    `other`: what the method holds besides parameters, such as batch statistics. `parts`: how many parts the batch is
    encoded in, one after the other; must divide the number of images, and the method be `divisible`. It changes no
    number but by rounding.
    """

    def merged(params: nnx.State) -> Method:
        return nnx.merge(graphdef, params, other, copy=True)

    if parts > 1:
        inputs = jax.tree.map(lambda entry: _divide(entry, parts), merged(params).inputs(batch, key))
        return _in_parts(merged, params, inputs, parts)

    def loss_fn(params: nnx.State) -> tuple[Array, tuple[Metrics, nnx.State]]:
        method = merged(params)
        loss, metrics = method.loss(batch, key)
        return loss, (metrics, split_method(method)[2])

    (_, (metrics, other)), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
    return grads, metrics, other


def _in_parts(
    merged: Callable[[nnx.State], Method], params: nnx.State, inputs: Inputs, parts: int
) -> tuple[nnx.State, Metrics, nnx.State]:
    def features_of(part: Inputs) -> Features:
        return merged(params).each_image(part)[0]

    def whole_batch(params: nnx.State, features: Features, means: Metrics) -> tuple[Array, tuple[Metrics, nnx.State]]:
        method = merged(params)
        loss, metrics = method.whole_batch(jax.tree.map(_join, features), means)
        return loss, (metrics, split_method(method)[2])

    def part_loss(params: nnx.State, part: Inputs, features_grads: Features) -> tuple[Array, Metrics]:
        features, means = merged(params).each_image(part)
        # Its gradient is this part's share of the whole loss's: the chain rule through the features. Not a dot
        # product, which accelerators would round.
        through = jax.tree.map(lambda grad, feature: jnp.sum(grad * feature), features_grads, features)
        return sum(jax.tree.leaves(through), start=_sum(weights, means) / parts), means

    def add_part(grads: nnx.State, part: tuple[Inputs, Features]) -> tuple[nnx.State, Metrics]:
        (_, means), part_grads = jax.value_and_grad(part_loss, has_aux=True)(params, *part)
        return jax.tree.map(jnp.add, grads, part_grads), means

    # Of a method that compares nothing, the compiler drops the first pass: nothing uses its result.
    features = jax.lax.map(features_of, inputs)  # [parts, rows / parts, ...]
    one_part = jax.eval_shape(lambda part: merged(params).each_image(part)[1], jax.tree.map(lambda x: x[0], inputs))
    nothing = jax.tree.map(lambda mean: jnp.zeros(mean.shape, mean.dtype), one_part)
    with_aux = jax.value_and_grad(whole_batch, argnums=(0, 1, 2), has_aux=True)
    # The loss is linear in the means: without them it is the rest of it, and its gradient are their weights.
    (rest, (metrics, other)), (grads, features_grads, weights) = with_aux(params, features, nothing)
    grads, of_parts = jax.lax.scan(add_part, grads, (inputs, features_grads))
    means = jax.tree.map(jnp.mean, of_parts)
    return grads, {"loss": rest + _sum(weights, means)} | metrics | means, other


def _sum(weights: Metrics, means: Metrics) -> Array:
    return sum((weights[name] * means[name] for name in means), start=jnp.zeros(()))


def _divide(x: Shaped[Array, "rows ..."], parts: int) -> Shaped[Array, "parts rows_of_part ..."]:
    """Part p has the rows p, p + parts, p + 2 parts, ...: some of each device's, so that none has to move."""
    return jnp.swapaxes(x.reshape(len(x) // parts, parts, *x.shape[1:]), 0, 1)


def _join(x: Shaped[Array, "parts rows_of_part ..."]) -> Shaped[Array, "rows ..."]:
    """The inverse of `_divide`."""
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])
