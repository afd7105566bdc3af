"""Optimisers and schedules: AdamW (Tables 5-8), LARS (Table 10), layer-wise learning rates (Table 9).

The transformations here return updates that are *not* scaled by the learning rate: it reaches the training step as an
argument, computed on the host for each step, so that runs of different lengths share one compiled program. `descend`
applies it.

Encoder blocks are stacked over depth (`[depth, ...]`, for `jax.lax.scan`), while every rule below is one about single
layers. `parameter_rank` is the one place that knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from can.config import OptimConfig

Params = Any  # a pytree of arrays: a flax.nnx State or nested dicts
KeyPath = tuple[Any, ...]  # as jax.tree_util.tree_map_with_path passes it

STACKED = "blocks"  # modules under this name hold one layer per index of their parameters' first axis
TOKENS = ("mask_token", "cls_token", "positions")  # learned vectors that weight decay leaves alone, whatever their rank
EMBEDDINGS = ("patch_embed", "cls_token", "positions", "pre_norm")  # layer 0 of the layer-wise decay


def learning_rate_schedule(
    peak_lr: float, warmup_steps: int, total_steps: int, last_lr: float = 0.0
) -> Callable[[int], float]:
    """The learning rate of each step: linear from 0 to `peak_lr`, then a cosine to `last_lr` at `total_steps`.

    A function of the host, in plain floats. Step 0 has rate 0 if there is a warm-up, else `peak_lr`.
    """

    def schedule(step: int) -> float:
        if step < warmup_steps:
            return peak_lr * step / warmup_steps
        if step >= total_steps:
            return last_lr
        progress = (step - warmup_steps) / (total_steps - warmup_steps)
        return last_lr + (peak_lr - last_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return schedule


def cosine(first: float, last: float, steps: int) -> Callable[[int], float]:
    """A half cosine from `first` at step 0 to `last` at `steps`, and `last` from then on."""

    def value(step: int) -> float:
        return last + (first - last) * 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))

    return value


def path_names(path: KeyPath) -> tuple[str, ...]:
    """The components of a parameter's path as strings, for dicts, sequences and flax.nnx states alike."""
    names = []
    for entry in path:
        for attribute in ("key", "name", "idx"):  # DictKey, GetAttrKey, SequenceKey
            if hasattr(entry, attribute):
                names.append(str(getattr(entry, attribute)))
                break
    return tuple(names)


def parameter_rank(path: KeyPath, leaf: jax.Array) -> int:
    """The rank of a parameter of one layer: the first axis of stacked blocks counts layers and is left out."""
    return leaf.ndim - (STACKED in path_names(path))


def matrix_mask(params: Params) -> Params:
    """True for the parameters of rank 2 or more, False for biases and norms."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: parameter_rank(path, leaf) >= 2, params)


def decay_mask(params: Params) -> Params:
    """True where weight decay applies: rank 2 or more, and neither [M] nor the cls token."""

    def decays(path: KeyPath, leaf: jax.Array) -> bool:
        return parameter_rank(path, leaf) >= 2 and not set(TOKENS).intersection(path_names(path))

    return jax.tree_util.tree_map_with_path(decays, params)


def optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """What a configuration asks for, without the learning rate: `adamw`, or `lars` behind the same clip."""
    if config.optimizer == "lars":
        return optax.chain(_clip(config), lars(config.weight_decay, config.beta1))
    return adamw(config)


def adamw(config: OptimConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter, 2017) without the learning rate, after a clip of the gradient's norm if one is set.

    A weight decay that grows is left to `decayed`.
    """
    grows = config.weight_decay_growth != 1
    return optax.chain(
        _clip(config),
        optax.scale_by_adam(b1=config.beta1, b2=config.beta2),
        optax.identity() if grows else optax.add_decayed_weights(config.weight_decay, mask=_mask_of(config)),
    )


def decayed(updates: Params, params: Params, weight_decay: float | jax.Array, config: OptimConfig) -> Params:
    """AdamW's updates with a weight decay of this step."""
    mask = _mask_of(config)(params)
    return jax.tree.map(lambda u, p, decays: u + weight_decay * p if decays else u, updates, params, mask)


def _mask_of(config: OptimConfig) -> Callable[[Params], Params]:
    return (lambda params: jax.tree.map(lambda _: True, params)) if config.decay_vectors else decay_mask


def _clip(config: OptimConfig) -> optax.GradientTransformation:
    if config.clip_norm == 0:
        return optax.identity()
    return _clip_each(config.clip_norm) if config.clip_each else optax.clip_by_global_norm(config.clip_norm)


def _clip_each(most: float) -> optax.GradientTransformation:
    """Scales each parameter's gradient, of single layers, to a norm of at most `most` (Caron et al., 2021)."""

    def clipped(path: KeyPath, update: jax.Array) -> jax.Array:
        axes = tuple(range(update.ndim - parameter_rank(path, update), update.ndim))
        norm = jnp.sqrt(jnp.sum(jnp.square(update), axes, keepdims=True))
        return update * jnp.minimum(1.0, most / (norm + 1e-6))

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(clipped, updates))


def scale_parts(tree: Params, factors: Mapping[str, float | jax.Array]) -> Params:
    """Gradients or updates times a factor where the parameter's path has that part; all others as they are."""
    if not factors:
        return tree

    def scaled(path: KeyPath, leaf: jax.Array) -> jax.Array:
        for name in factors.keys() & set(path_names(path)):
            leaf = leaf * factors[name]
        return leaf

    return jax.tree_util.tree_map_with_path(scaled, tree)


def lars(weight_decay: float, momentum: float, trust_coefficient: float = 0.001) -> optax.GradientTransformation:
    """LARS (You et al., 2017) without the learning rate, as He et al. (2022) use it for linear probes.

    Differs from `optax.lars` in two ways that change results: the learning rate comes after the momentum buffer (so
    that a schedule acts at once and not on the gradients to come), and biases and norms take plain momentum SGD.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=matrix_mask),
        _scale_by_layer_trust_ratio(trust_coefficient),
        optax.trace(decay=momentum),
    )


def _scale_by_layer_trust_ratio(trust_coefficient: float) -> optax.GradientTransformation:
    """Scales each matrix's update to `trust_coefficient` times that matrix's norm; norms are those of single layers."""

    def scale(path: KeyPath, update: jax.Array, param: jax.Array) -> jax.Array:
        rank = parameter_rank(path, param)
        if rank < 2:
            return update
        axes = tuple(range(param.ndim - rank, param.ndim))
        param_norm = jnp.sqrt(jnp.sum(jnp.square(param), axes, keepdims=True))
        update_norm = jnp.sqrt(jnp.sum(jnp.square(update), axes, keepdims=True))
        both = (param_norm > 0) & (update_norm > 0)
        return update * jnp.where(both, trust_coefficient * param_norm / jnp.where(both, update_norm, 1.0), 1.0)

    def update_fn(updates: Params, params: Params | None) -> Params:
        if params is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        return jax.tree_util.tree_map_with_path(scale, updates, params)

    return optax.stateless(update_fn)


def layer_decay_scales(params: Params, decay: float, depth: int) -> Params:
    """The factor on each parameter's learning rate in finetuning: decay ** (depth + 1 - i) (Table 9).

    i is 0 for the embeddings, 1 to `depth` for the blocks, and depth + 1 for all after them (final norm, head). The
    scales of stacked blocks are `[depth, 1, ...]` and broadcast against their parameters.
    """

    def scale(path: KeyPath, leaf: jax.Array) -> jax.Array:
        names = path_names(path)
        if STACKED in names:
            if leaf.shape[0] != depth:
                raise ValueError(f"{'.'.join(names)} stacks {leaf.shape[0]} layers, not {depth}")
            layers = jnp.arange(1, depth + 1).reshape(-1, *[1] * (leaf.ndim - 1))
        else:
            layers = jnp.asarray(0 if set(EMBEDDINGS).intersection(names) else depth + 1)
        return jnp.asarray(decay, jnp.float32) ** (depth + 1 - layers)

    return jax.tree_util.tree_map_with_path(scale, params)


def descend(params: Params, updates: Params, learning_rate: float | jax.Array) -> Params:
    """`params - learning_rate * updates`: the step that the transformations above leave to their caller."""
    return jax.tree.map(lambda param, update: param - learning_rate * update, params, updates)
