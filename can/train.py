"""Pre-training: the loop in stages, for any method, any number of devices, and several seeds in one program."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import grain
import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from can import keys, methods, seeds
from can.config import RunConfig
from can.data import EncodedImages, ImageSet, batches
from can.data.workers import FromWorkers
from can.errors import ConfigError
from can.models.fingerprint import fingerprint_of
from can.runs import RunDir
from can.runs.beside import Beside
from can.runs.checkpoint import Checkpoints
from can.runs.checkpoint_due import CheckpointDue, multiple_of
from can.runs.failure import NotFinite
from can.runs.profile import Profile
from can.runs.recorder import Recorder, same_step
from can.runs.row import Row, mean_metrics
from can.schedules import rates
from can.sharding import local_rows, make_mesh, put_batch
from can.system.stopping import Stopped, StopRequests
from can.training_step import TrainState, abstract_state, evaluated_encoder, first_state, jit_train_step


def pretrain(config: RunConfig, run: RunDir, images: ImageSet, **how: Any) -> TrainState:
    """Trains one run to its last step; returns its state. `how`: see `train_together`, also for what is raised."""
    return pretrain_seeds([(config, run)], images, **how)[0]


def pretrain_seeds(runs: Sequence[tuple[RunConfig, RunDir]], images: ImageSet, **how: Any) -> list[TrainState]:
    """As `pretrain`, for runs that differ in their seeds alone: those that stand at the same step in one program."""
    at = [Checkpoints(run.checkpoints).latest_step or 0 for _, run in runs] if len(runs) > 1 else [0]
    states: dict[int, TrainState] = {}
    for step in sorted(set(at), reverse=True):
        group = [place for place in range(len(runs)) if at[place] == step]
        states |= zip(group, train_together([runs[place] for place in group], images, **how), strict=True)
    return [states[place] for place in range(len(runs))]


def train_together(
    runs: Sequence[tuple[RunConfig, RunDir]],
    images: ImageSet,
    *,
    mesh: jax.sharding.Mesh | None = None,
    workers: int = 0,
    checkpoint_every: int = 1000,
    checkpoint_seconds: float | None = None,
    keep_every: int | None = None,
    log_every: int = 50,
    skip_bad: bool = False,
    beside: Beside | None = None,
    profile: tuple[int, int] | None = None,
    write_to: Sequence[str] = ("tensorboard",),
) -> list[TrainState]:
    """Trains to the last step, from the latest checkpoint if there is one, and publishes log and provenance.

    Args:
      runs: configurations, each with the place where it writes; their `config.json` are expected to be claimed already.
        Several differ in their seeds alone and stand at the same step: one program trains them, and each writes what it
        would write alone.
      images: what they are trained on; labels are dropped unless the method needs them.
      mesh: the devices; None takes all of them for data parallelism.
      workers: processes that decode the images of each run, for sets that do not fit decoded in memory.
      checkpoint_every: steps between checkpoints, rounded up to a multiple of `log_every`, so that a row is never of
        two processes; changes no number.
      checkpoint_seconds: a checkpoint is also made by the first row that comes so long after the last one.
      keep_every: the checkpoints of its multiples, rounded up likewise, are made and kept for good; of the others, the
        latest two.
      skip_bad: whether another image stands in for a damaged one, which is named and counted: see `batches`.
      log_every: steps between rows of `train.csv`, which hold the means over them; `param_norm` is that of the last.
      beside: what looks at the states now and then, and changes no number of the training.
      write_to: where rows go beside `train.csv`, as `can.runs.writers` calls these places.
      profile: the first and the last step of a trace, into the first run's working folder.

    Raises:
      ConfigError: the settings cannot work.
      UserError: loss, gradients or parameters are no longer finite (the last good checkpoint stays), or the disk is
        full.
      Stopped: a signal asked for it; the state is saved, and the next call ends with the same numbers, or all is done.
    """
    # The program: what is trained on, the shapes of a state on the devices, one step of all of them.
    config, count = runs[0][0], len(runs)
    optim, last_step = config.optim, config.optim.last_step
    if not methods.method_class(config.method.name).needs_labels:
        images = images.without_labels()
    mesh = mesh or make_mesh()
    graphdef, shapes = abstract_state(config, images.num_classes, mesh)
    train_step = jit_train_step(graphdef, config, shapes, mesh, count)
    rates_at = rates(config)
    key = seeds.stack([keys.key(own.seed, "training") for own, _ in runs])
    global_norm = jax.jit(optax.tree.norm if count == 1 else jax.vmap(optax.tree.norm))
    keep_every = None if keep_every is None else multiple_of(log_every, keep_every)
    due = CheckpointDue(multiple_of(log_every, checkpoint_every), checkpoint_seconds, keep_every)

    # The state: the latest checkpoint's, with the row that was begun, or the first one.
    recorders = [Recorder(own, run, images, shapes, log_every, keep_every, write_to) for own, run in runs]
    start_step = same_step(recorders)
    state = seeds.stack([it.restored or first_state(it.config, images, mesh) for it in recorders])
    row = Row(log_every, start_step, seeds.stack_rows([it.row for it in recorders]), mesh)

    with contextlib.ExitStack() as held:
        # The images from that step on, the logs, the signals.
        for recorder in recorders:
            held.enter_context(recorder)
        sources = [
            held.enter_context(
                contextlib.closing(training_batches(own, images, mesh, start_step, workers=workers, skip_bad=skip_bad))
            )
            for own, _ in runs
        ]
        stops = held.enter_context(StopRequests())
        traced = held.enter_context(contextlib.closing(Profile(profile, runs[0][1].work / "profile")))

        def next_batch() -> dict[str, Array]:
            read = [it.skipped.take_from(next(source)) for it, source in zip(recorders, sources, strict=True)]
            return put_batch(read[0], mesh, optim.batch_size) if count == 1 else seeds.put_batches(read, mesh)

        if last_step == 0:
            for place, recorder in enumerate(recorders):
                recorder.save(0, seeds.of_one(state, place, count), {})
        looked, since = start_step, time.perf_counter()
        batch = next_batch() if start_step < last_step else {}
        for step in range(start_step, last_step):
            # Train. The host dispatches up to log_every steps ahead of the device, and the batch to come is there
            # before it waits.
            traced.before(step, state)
            state, metrics = train_step(state, batch, jax.tree.map(np.float32, rates_at(step)), key)
            row.add(step, metrics)
            done = step + 1
            ends = done == last_step
            if not ends:
                batch = next_batch()
            traced.after(done, state)
            row_ends = ends or done % log_every == 0
            stop = stops.noted(row_ends)
            if not (row_ends or stop or step == start_step):
                continue

            # Wait for the device, and look: what is not finite, or of too many damaged images, is never saved.
            values, norms = jax.device_get((row.values, global_norm(state.params)))
            speed = (done - looked) * optim.batch_size / (time.perf_counter() - since)
            broken: NotFinite | None = None
            sound = []
            for place, recorder in enumerate(recorders):
                steps = row.steps(seeds.measured_of_one(values, place, count), done)
                param_norm = float(seeds.measured_of_one(norms, place, count))
                try:
                    recorder.check(steps, param_norm, done)
                except NotFinite as error:
                    broken = broken or error
                    continue
                sound.append(place)

                # Log, before a checkpoint that is of this row.
                if row_ends:
                    rate = rates_at(step)["learning_rate"]
                    last = {"param_norm": param_norm, "lr": rate, "images_per_second": speed}
                    if beside and (ends or done % multiple_of(log_every, beside.every) == 0):
                        last |= beside.look(graphdef, seeds.of_one(state, place, count))
                    recorder.write(done, mean_metrics(steps) | last)
            if row_ends:
                row.end(done)

            # Save, where one seed's numbers are no longer finite the others' state.
            if ends or stop or broken or (row_ends and due.at(done)):
                for place in sound:
                    begun = row.to_save(seeds.measured_of_one(values, place, count), done)
                    recorders[place].save(done, seeds.of_one(state, place, count), begun)
            if broken or (stop and not ends):
                for place in sound:
                    recorders[place].checkpoints.wait()
                if broken:
                    raise broken
                saved = f"{', '.join(run.name for _, run in runs)} is saved at step {done} of {last_step}"
                raise Stopped(stop or 0, saved)
            stops.hold()
            looked, since = done, time.perf_counter()

        # Publish the logs, and what made them.
        states = [seeds.of_one(state, place, count) for place in range(count)]
        for recorder, own in zip(recorders, states, strict=True):
            recorder.publish(_encoder_fingerprint(graphdef, own, config, mesh), [own.seed for own, _ in runs])
    if stop := stops.noted(all_look=True):  # in the last step or since: what would come next does not begin
        raise Stopped(stop, f"{', '.join(run.name for _, run in runs)} is trained to its end")
    return states


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
