"""Pre-training: the state, the jitted step and the loop, for any method, on any number of devices."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import keys, methods
from can.augment import augment, normalize
from can.augment.rand_augment import rand_augment
from can.config import RunConfig
from can.data import EncodedImages, ImageSet, batches, places_in_batch
from can.data.workers import FromWorkers
from can.errors import ConfigError
from can.gradients import gradients
from can.methods import Batch, Method
from can.methods.kinds import follow, gathered_kept, replaced, split_method
from can.models import ViT
from can.models.fingerprint import fingerprint_of
from can.optim import decayed, descend, optimizer, scale_parts
from can.runs import RunDir
from can.runs.belonging import files_in
from can.runs.checkpoint import BESIDE, Checkpoints
from can.runs.checkpoint_due import CheckpointDue, multiple_of
from can.runs.clock import Clock
from can.runs.failure import Failure, NotFinite, check_finite
from can.runs.images import FILE as IMAGES
from can.runs.images import ImageHistory
from can.runs.log import TrainLog, check_whole
from can.runs.provenance import peak_memory_mb, provenance
from can.runs.row import Row, mean_metrics
from can.runs.skipped import Skipped
from can.schedules import rates
from can.sharding import batch_sharding, gathered, local_rows, make_mesh, put, put_batch, state_sharding, traced_for
from can.system import hosts
from can.system.checksums import checksum_of
from can.system.files import write_json
from can.system.stopping import Stopped, StopRequests

BROUGHT_BACK = ("train.csv", "clock.json", "skipped.json")  # into the working folder, with a checkpoint


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
    graphdef: nnx.GraphDef, config: RunConfig, state: TrainState, mesh: jax.sharding.Mesh
) -> jax.stages.Wrapped:
    """The update as one program of all devices, which reuses the memory of the state it is given.

    `state`: the state itself, or its shapes alone.
    """
    shardings = state_sharding(state, mesh)
    return jax.jit(
        traced_for(mesh, make_train_step(graphdef, config)),
        in_shardings=(shardings, batch_sharding(mesh), None, None),
        out_shardings=(shardings, None),
        donate_argnums=0,
    )


def pretrain(
    config: RunConfig,
    run: RunDir,
    images: ImageSet,
    *,
    mesh: jax.sharding.Mesh | None = None,
    workers: int = 0,
    checkpoint_every: int = 1000,
    checkpoint_seconds: float | None = None,
    keep_every: int | None = None,
    log_every: int = 50,
    skip_bad: bool = False,
) -> TrainState:
    """Trains to the run's last step, from its latest checkpoint if there is one, and publishes log and provenance.

    Args:
      config: the run; its `config.json` is expected to be claimed already.
      run: where it writes.
      images: what it is trained on; labels are dropped unless the method needs them.
      mesh: the devices; None takes all of them for data parallelism.
      workers: processes that decode images, for sets that do not fit decoded in memory.
      checkpoint_every: steps between checkpoints, rounded up to a multiple of `log_every`, so that a row is never of
        two processes; changes no number.
      checkpoint_seconds: a checkpoint is also made by the first row that comes so long after the last one.
      keep_every: the checkpoints of its multiples, rounded up likewise, are made and kept for good; of the others, the
        latest two.
      skip_bad: whether another image stands in for a damaged one, which is named and counted: see `batches`.
      log_every: steps between rows of `train.csv`, which hold the means over them; `param_norm` is that of the last.

    Raises:
      ConfigError: the settings cannot work.
      UserError: loss, gradients or parameters are no longer finite (the last good checkpoint stays), or the disk is
        full.
      Stopped: a signal asked for it; the state is saved, and the next call ends with the same numbers, or all is done.
    """
    # The program: what is trained on, the shapes of the state on the devices, one step of all of them.
    optim, last_step = config.optim, config.optim.last_step
    if not methods.method_class(config.method.name).needs_labels:
        images = images.without_labels()
    mesh = mesh or make_mesh()
    graphdef, shapes = abstract_state(config, images.num_classes, mesh)
    train_step = jit_train_step(graphdef, config, shapes, mesh)
    rates_at = rates(config)
    key = keys.key(config.seed, "training")
    global_norm = jax.jit(optax.tree.norm)

    keep_every = None if keep_every is None else multiple_of(log_every, keep_every)
    due = CheckpointDue(multiple_of(log_every, checkpoint_every), checkpoint_seconds, keep_every)
    with Checkpoints(run.checkpoints, keep_every=keep_every, owner=run.owner(config)) as checkpoints:
        # The state: the latest checkpoint's, with the row that was begun, or the first one.
        restored = checkpoints.restore(shapes)
        state, start_step = restored or (first_state(config, images, mesh), 0)
        row = Row(log_every, start_step, checkpoints.restore_beside() if restored else {}, mesh)

        if restored and not checkpoints.bring_back(run.work, *BROUGHT_BACK):
            hosts.decided(check_whole, run.work / "train.csv", start_step, log_every)

        # The images, from that step on, and what is written of a step.
        source = training_batches(config, images, mesh, start_step, workers=workers, skip_bad=skip_bad)
        skipped = Skipped(run.work / "skipped.json", start_step)
        clock = Clock(run.work / "clock.json", start_step)
        log = TrainLog(run.work / "train.csv", run.work, last_step, start_step)

        def next_batch() -> dict[str, Array]:
            return put_batch(skipped.take_from(next(source)), mesh, optim.batch_size)

        with log, contextlib.closing(source), StopRequests() as stops:
            if last_step == 0 and restored is None:
                checkpoints.save(0, state)
            looked, since = start_step, time.perf_counter()
            batch = next_batch() if start_step < last_step else {}
            for step in range(start_step, last_step):
                # Train. The host dispatches up to log_every steps ahead of the device, and the batch to come is there
                # before it waits.
                state, metrics = train_step(state, batch, jax.tree.map(np.float32, rates_at(step)), key)
                row.add(step, metrics)
                done = step + 1
                ends = done == last_step
                if not ends:
                    batch = next_batch()
                row_ends = ends or done % log_every == 0
                stop = stops.noted(row_ends)
                if not (row_ends or stop or step == start_step):
                    continue

                # Wait for the device, and look: what is not finite, or of too many damaged images, is never saved.
                values, param_norm = jax.device_get((row.values, global_norm(state.params)))
                steps = row.steps(values, done)
                try:
                    check_finite(steps, float(param_norm), done, optim, lambda: checkpoints.latest_step)
                except NotFinite as error:
                    order = keys.int_seed(config.seed, "order")
                    places = places_in_batch(images, batch_size=optim.batch_size, seed=order, step=error.step - 1)
                    Failure(run.work).note(error.step, config.seed, places)
                    raise
                skipped.check(done, optim.batch_size)
                checkpoints.check()

                # Log, before a checkpoint that is of this row.
                if row_ends:
                    speed = (done - looked) * optim.batch_size / (time.perf_counter() - since)
                    rate = rates_at(step)["learning_rate"]
                    last = {"param_norm": float(param_norm), "lr": rate, "images_per_second": speed}
                    log.write(done, mean_metrics(steps) | last)
                    row.end(done)

                # Save.
                if ends or stop or (row_ends and due.at(done)):
                    clock.save()
                    skipped.save(done)
                    files = files_in(run.work, (*BROUGHT_BACK, IMAGES)) | {"train.csv": log.written_through()}
                    checkpoints.save(done, {**state._asdict(), BESIDE: row.to_save(values, done)}, files=files)
                if stop and not ends:
                    checkpoints.wait()
                    raise Stopped(stop, f"{run.name} is saved at step {done} of {last_step}")
                stops.hold()
                looked, since = done, time.perf_counter()
        checkpoints.wait()

    # Publish the log, and what made it.
    log.publish(run.results)
    elapsed = clock.elapsed()
    record = provenance(
        images,
        clock.started,
        elapsed,
        last_step,
        last_step * optim.batch_size / elapsed,
        _encoder_fingerprint(graphdef, state, config, mesh),
    )
    if len(seen := ImageHistory(run.work / IMAGES).entries) > 1:
        record["data_history"] = seen
    if hosts.is_first():
        record["log"] = checksum_of(run.results / log.path.name)
    if skipped.count:
        record["skipped_images"] = skipped.count
    write_json(run.results / "provenance.json", record)
    logging.info("%s: %d steps in %.0f s, peak memory %.1f GB", run.name, last_step, elapsed, peak_memory_mb() / 1000)
    if stop := stops.noted(all_look=True):  # in the last step or since: what would come next does not begin
        raise Stopped(stop, f"{run.name} is trained to its end")
    return state


def training_batches(
    config: RunConfig,
    images: ImageSet,
    mesh: jax.sharding.Mesh,
    start_step: int,
    *,
    workers: int = 0,
    skip_bad: bool = False,
) -> grain.DatasetIterator[dict[str, Any]] | FromWorkers[dict[str, Any]]:
    """This host's rows of the run's batches from a step on; see `can.data.batches`.

    Raises ConfigError for local crops of encoded images: the host crops those, and at one size.
    """
    if config.augment.local_crops and isinstance(images, EncodedImages):
        raise ConfigError(f"local crops are not cut out of encoded images, as {images.name} has: pass --local_crops=0")
    return batches(
        images,
        batch_size=config.optim.batch_size,
        seed=keys.int_seed(config.seed, "order"),
        start_step=start_step,
        views=methods.method_class(config.method.name).num_views,
        image_size=config.model.image_size,
        crop_area=config.augment.crop_area,
        workers=workers,
        rows=local_rows(mesh, config.optim.batch_size).tolist(),
        skip_bad=skip_bad,
    )


def _encoder_fingerprint(graphdef: nnx.GraphDef, state: TrainState, config: RunConfig, mesh: jax.sharding.Mesh) -> str:
    """That of the encoder that `can.trained.load_encoder` will load."""
    _, params = nnx.split(evaluated_encoder(nnx.merge(graphdef, state.params, state.batch_stats)))
    # Parts of a parameter may be on other hosts, where this one cannot read them.
    whole = jax.jit(lambda params: params, out_shardings=jax.NamedSharding(mesh, jax.P()))(params)
    return fingerprint_of(whole, config.model, config.model.image_size)


def evaluated_encoder(method: Method) -> ViT:
    """What outlives pre-training: the method's encoder, or its teacher's."""
    module: Any = method
    for name in method.evaluated.split("/"):
        module = module[name] if isinstance(module, nnx.Dict) else getattr(module, name)
    return module
