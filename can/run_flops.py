"""Floating-point operations of a run: the modules of its method, its loss and its training step, from shapes alone."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from can.config import RunConfig
from can.flops import Flops, count_flops
from can.methods import method_class
from can.train import abstract_state, make_train_step, new_method


def forward_flops(config: RunConfig) -> Flops:
    """Of the loss of one batch of augmented views."""
    batch, size = config.optim.batch_size, config.model.image_size
    views = _array(method_class(config.method.name).num_views, batch, size, size, 3)
    graphdef, state = nnx.split(nnx.eval_shape(partial(new_method, config)))
    return count_flops(lambda state, *args: nnx.merge(graphdef, state).loss(*args)[0], state, {"views": views}, _key())


def module_flops(config: RunConfig) -> dict[str, Flops]:
    """Of the forward pass of "encoder", "decoder" and "head", as far as the method has them, for one batch."""
    model = config.model
    method = nnx.eval_shape(partial(new_method, config))
    rows = config.optim.batch_size * method.num_views
    visible = getattr(method, "num_visible", model.num_patches)
    encoded = _array(rows, visible + model.cls_token, model.width)
    order = jax.ShapeDtypeStruct((rows, model.num_patches), jnp.int32)
    kept = jax.ShapeDtypeStruct((rows, visible), jnp.int32)
    sigma = _array(rows) if getattr(method, "tell_sigma", False) else None
    arguments = {
        "encoder": (_array(rows, visible, model.patch_size**2 * 3), kept),
        "decoder": (encoded, order, sigma),
        "head": (_array(rows, model.width),),
    }
    return {
        name: _module_flops(getattr(method, name), *args) for name, args in arguments.items() if hasattr(method, name)
    }


def step_flops(config: RunConfig, num_classes: int | None = None) -> Flops:
    """Of one training step of the whole batch: augmentation, forward, backward and optimiser."""
    graphdef, state = abstract_state(config, num_classes)
    batch, size = config.optim.batch_size, config.model.image_size
    images = {"image": jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)}
    if method_class(config.method.name).needs_labels:
        images["label"] = jax.ShapeDtypeStruct((batch,), jnp.int32)
    return count_flops(make_train_step(graphdef, config), state, images, _array(), _key())


def necessary_matmul_flops(config: RunConfig, num_classes: int | None = None) -> int:
    """Of the matrix products of one training step, without those that are there only to save memory or time."""
    model = dataclasses.replace(config.model, remat="none")
    whole = dataclasses.replace(config, model=model, optim=dataclasses.replace(config.optim, accumulate=1))
    flops = step_flops(whole, num_classes)
    return flops.matmul - flops.repeated


def _module_flops(module: nnx.Module, *args: object) -> Flops:
    graphdef, state = nnx.split(module)
    return count_flops(lambda state, *args: nnx.merge(graphdef, state)(*args), state, *args)


def _array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(lambda: jax.random.key(0))
