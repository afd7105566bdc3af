"""The step at which a training was no longer finite, made again from the last checkpoint before it; writes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
import optax

from can import keys, methods
from can.config import RunConfig
from can.data import ImageSet
from can.runs import RunDir
from can.runs.checkpoint import Checkpoints
from can.runs.failure import Failure
from can.schedules import rates
from can.sharding import make_mesh, put_batch
from can.train import training_batches
from can.training_step import abstract_state, first_state, jit_train_step


def replay(
    config: RunConfig, run: RunDir, images: ImageSet, *, mesh: jax.sharding.Mesh | None = None, workers: int = 0
) -> Iterator[tuple[int, dict[str, float]]]:
    """The metrics of each step from the last checkpoint to the one that failed, with its number, counted from 1.

    Raises UserError if the run noted no failure, DataError if that note is damaged.
    """
    failed = Failure(run.work).step
    images = images if methods.method_class(config.method.name).needs_labels else images.without_labels()
    mesh, optim = mesh or make_mesh(), config.optim
    graphdef, shapes = abstract_state(config, images.num_classes, mesh)
    with Checkpoints(run.checkpoints, owner=run.owner(config)) as checkpoints:
        state, start = checkpoints.restore(shapes) or (first_state(config, images, mesh), 0)
    train_step = jit_train_step(graphdef, config, shapes, mesh)
    rates_at = rates(config)
    source = training_batches(config, images, mesh, start, workers=workers)
    key, global_norm = keys.key(config.seed, "training"), jax.jit(optax.tree.norm)
    with contextlib.closing(source):
        for step in range(start, failed):
            batch = put_batch(next(source), mesh, optim.batch_size)
            state, metrics = train_step(state, batch, jax.tree.map(np.float32, rates_at(step)), key)
            metrics["param_norm"] = global_norm(state.params)
            yield step + 1, {name: float(value) for name, value in jax.device_get(metrics).items()}
