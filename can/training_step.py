"""What is trained: the state of a method, and the jitted step that changes it, on any number of devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import keys, methods, seeds
from can.augment import augment, normalize
from can.augment.rand_augment import rand_augment
from can.config import RunConfig
from can.data import ImageSet
from can.errors import ConfigError
from can.gradients import gradients
from can.methods import Batch, Method
from can.methods.kinds import follow, gathered_kept, replaced, split_method
from can.models import ViT
from can.optim import decayed, descend, optimizer, scale_parts
from can.sharding import batch_sharding, gathered, put, state_sharding, traced_for


class TrainState(NamedTuple):
    """All that training changes: an explicit pytree, and what a checkpoint holds."""

    step: Array  # number of steps done
    params: nnx.State
    batch_stats: nnx.State  # and whatever else a method holds besides parameters: see `can.methods.kinds`
    opt_state: optax.OptState


def new_method(config: RunConfig, num_classes: int | None = None, key: PRNGKeyArray | None = None) -> Method:
    """The run's method, initialised from its seed, or from `key`.

    Raises ConfigError for settings the method cannot work with.
    """
    methods.check_batch_size(config.method.name, config.optim.batch_size)
    methods.check_local_crops(config)
    if config.optim.accumulate > 1 and not methods.method_class(config.method.name).divisible:
        raise ConfigError(f"{config.method.name} needs its batch in one piece: leave --accumulate at 1")
    rngs = nnx.Rngs(keys.key(config.seed, "initialisation") if key is None else key)
    return methods.build(config.model, config.method, rngs=rngs, num_classes=num_classes or 0)


def init_state(
    config: RunConfig, num_classes: int | None = None, mesh: jax.sharding.Mesh | None = None
) -> tuple[nnx.GraphDef, TrainState]:
    """The method's structure, and the state before the first step, laid out over `mesh` (None: one device).

    One program, which runs where its results stay: a large model is never whole on one device, and a second start finds
    it compiled.
    """
    graphdef, shapes = abstract_state(config, num_classes)
    shardings = None if mesh is None else state_sharding(shapes, mesh)

    def init(key: PRNGKeyArray) -> TrainState:  # of the key, that all seeds may share the program
        return _state_of(config, *split_method(new_method(config, num_classes, key))[1:])

    return graphdef, jax.jit(init, out_shardings=shardings)(keys.key(config.seed, "initialisation"))


def first_state(config: RunConfig, images: ImageSet, mesh: jax.sharding.Mesh) -> TrainState:
    """The state before the first step, with what the method prepares from the images."""
    _, state = init_state(config, images.num_classes, mesh)
    method = methods.method_class(config.method.name)
    if values := method.prepare(config, images, keys.key(config.seed, "preparation")):
        kept = replaced(state.batch_stats, values)
        state = state._replace(batch_stats=put(kept, state_sharding(kept, mesh)))
    return state


def abstract_state(
    config: RunConfig, num_classes: int | None = None, mesh: jax.sharding.Mesh | None = None
) -> tuple[nnx.GraphDef, TrainState]:
    """As `init_state`, but shapes, types and shardings only: nothing is computed or allocated."""
    graphdef, shapes = _shapes(config, num_classes)
    if mesh is None:
        return graphdef, shapes

    def on_mesh(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.NamedSharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return graphdef, jax.tree.map(on_mesh, shapes, state_sharding(shapes, mesh))


@lru_cache(maxsize=1)  # a training asks several times, and building a method takes a second
def _shapes(config: RunConfig, num_classes: int | None) -> tuple[nnx.GraphDef, TrainState]:
    graphdef, *parts = split_method(nnx.eval_shape(partial(new_method, config, num_classes)))
    return graphdef, jax.eval_shape(partial(_state_of, config), *parts)


def _state_of(config: RunConfig, params: nnx.State, batch_stats: nnx.State) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimizer(config.optim).init(params))


def make_train_step(graphdef: nnx.GraphDef, config: RunConfig) -> Callable[..., tuple[TrainState, dict[str, Array]]]:
    """The update: `(state, batch, rates, key) -> (state, metrics)`, for the whole, global batch.

    `batch` holds uint8 images; augmentation is part of the step. `rates` are the step's values of `can.schedules`; they
    and the key are arguments, so that runs of other lengths and seeds share one compiled program. The metrics are the
    method's, and two global norms: of the gradients before they are clipped, and of what is added to the parameters.
    """
    optim, update = config.optim, optimizer(config.optim).update
    method = methods.method_class(config.method.name)

    def train_step(
        state: TrainState, batch: dict[str, Array], rates: dict[str, Float[Array, ""]], key: PRNGKeyArray
    ) -> tuple[TrainState, dict[str, Array]]:
        augment_key, operations_key, loss_key = jax.random.split(jax.random.fold_in(key, state.step), 3)
        augmented = _augmented(config, method, batch, augment_key, operations_key)
        augmented["rates"] = rates

        params, kept = gathered(state.params), gathered_kept(state.batch_stats)
        grads, metrics, kept = gradients(graphdef, params, kept, augmented, loss_key, optim.accumulate)
        learns = dict.fromkeys(method.frozen, 0.0) | {
            name.removeprefix("learns/"): rate for name, rate in rates.items() if name.startswith("learns/")
        }
        grads = scale_parts(grads, learns)
        updates, opt_state = update(grads, state.opt_state, state.params)
        if "weight_decay" in rates:
            updates = decayed(updates, state.params, rates["weight_decay"], optim)
        updates = scale_parts(updates, learns)
        params = descend(state.params, updates, rates["learning_rate"])
        if "momentum" in rates:
            kept = follow(kept, params, rates["momentum"])
        metrics["grad_norm"] = optax.tree.norm(grads)
        metrics["update_norm"] = rates["learning_rate"] * optax.tree.norm(updates)
        return TrainState(state.step + 1, params, kept, opt_state), metrics

    return train_step


def _augmented(
    config: RunConfig,
    method: type[Method],
    batch: dict[str, Array],
    augment_key: PRNGKeyArray,
    operations_key: PRNGKeyArray,
) -> Batch:
    """The views that a method learns from, of uint8 images."""
    how, size = config.augment, config.model.image_size
    views = augment(augment_key, batch["image"], how, image_size=size, views=method.num_views, kinds=method.views)
    if how.rand_augment_layers:
        views = rand_augment(operations_key, views, how.rand_augment_layers, how.rand_augment_magnitude)
    augmented = Batch(views=normalize(views))
    if how.local_crops and method.local_view is not None:
        images, kinds = batch.get("local_image", batch["image"]), (method.local_view,) * how.local_crops
        local_key = jax.random.fold_in(augment_key, 1)
        crops = augment(local_key, images, how.local, image_size=how.local_size, views=how.local_crops, kinds=kinds)
        augmented["local_views"] = normalize(crops)
    if "label" in batch:
        augmented["label"] = batch["label"]
    return augmented


def jit_train_step(
    graphdef: nnx.GraphDef, config: RunConfig, state: TrainState, mesh: jax.sharding.Mesh, num_seeds: int = 1
) -> jax.stages.Wrapped:
    """The update as one program of all devices, which reuses the memory of the state it is given.

    `state`: the state itself, or its shapes alone; that of one seed where the program is one of several, too.
    """
    step, images, states = make_train_step(graphdef, config), batch_sharding(mesh), state_sharding(state, mesh)
    if num_seeds > 1:
        step, images, states = seeds.of_seeds(step), seeds.stacked(images), seeds.stacked(states)
    return jax.jit(
        traced_for(mesh, step),
        in_shardings=(states, images, None, None),
        out_shardings=(states, None),
        donate_argnums=0,
    )


def evaluated_encoder(method: Method) -> ViT:
    """What outlives pre-training: the method's encoder, or its teacher's."""
    module: Any = method
    for name in method.evaluated.split("/"):
        module = module[name] if isinstance(module, nnx.Dict) else getattr(module, name)
    return module
