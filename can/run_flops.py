"""Floating-point operations of a run: the modules of its method, its loss and its training step, from shapes alone."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, PRNGKeyArray

from can.config import RunConfig
from can.flops import Flops, count_flops
from can.methods import method_class
from can.methods.method import floats, ints
from can.schedules import rates
from can.training_step import abstract_state, make_train_step, new_method


def forward_flops(config: RunConfig) -> Flops:
    """The operations of the loss of one batch of augmented views."""
    batch, how, method = config.optim.batch_size, config.augment, method_class(config.method.name)
    views = {"views": floats(method.num_views, batch, config.model.image_size, config.model.image_size, 3)}
    if how.local_crops and method.local_view is not None:
        views["local_views"] = floats(how.local_crops, batch, how.local_size, how.local_size, 3)
    graphdef, state = nnx.split(nnx.eval_shape(partial(new_method, config)))

    def loss(state: nnx.State, views: dict[str, Any], rates: dict[str, Array], key: PRNGKeyArray) -> Array:
        batch: Any = {**views, "rates": rates}
        return nnx.merge(graphdef, state).loss(batch, key)[0]

    return count_flops(loss, state, views, _rates(config), _key())


def module_flops(config: RunConfig) -> dict[str, Flops]:
    """The forward pass's operations in each large module, such as "encoder", "decoder" and "head", for one batch."""
    method = nnx.eval_shape(partial(new_method, config))
    calls = method.calls(config.optim.batch_size * method.num_views)
    return {name: _module_flops(module, *args) for name, (module, args) in calls.items()}


def step_flops(config: RunConfig, num_classes: int | None = None) -> Flops:
    """The operations of one training step of the whole batch: augmentation, forward, backward and optimiser."""
    graphdef, state = abstract_state(config, num_classes)
    batch, size = config.optim.batch_size, config.model.image_size
    images = {"image": jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)}
    if method_class(config.method.name).needs_labels:
        images["label"] = ints(batch)
    return count_flops(make_train_step(graphdef, config), state, images, _rates(config), _key())


def necessary_matmul_flops(config: RunConfig, num_classes: int | None = None) -> int:
    """The operations of a training step's matrix products, without those that only save memory or time."""
    model = dataclasses.replace(config.model, remat="none")
    whole = dataclasses.replace(config, model=model, optim=dataclasses.replace(config.optim, accumulate=1))
    flops = step_flops(whole, num_classes)
    return flops.matmul - flops.repeated


def _module_flops(module: nnx.Module, *args: object) -> Flops:
    graphdef, state = nnx.split(module)
    return count_flops(lambda state, *args: nnx.merge(graphdef, state)(*args), state, *args)


def _rates(config: RunConfig) -> dict[str, jax.ShapeDtypeStruct]:
    return {name: floats() for name in rates(config)(0)}


def _key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))
