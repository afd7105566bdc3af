"""Reads what a training left: the encoder, or the whole method, checked against the results that it belongs to."""

from __future__ import annotations

from functools import partial

import jax
from flax import nnx

from can.config import RunConfig
from can.errors import UserError
from can.methods import Method
from can.methods.kinds import split_method
from can.models import ViT
from can.models.fingerprint import fingerprint_of
from can.runs import RunDir
from can.runs.checkpoint import Checkpoints
from can.training_step import evaluated_encoder, new_method


def load_encoder(config: RunConfig, run: RunDir) -> ViT:
    """The trained run's encoder as a module. Raises UserError if its last checkpoint is not here, or damaged."""
    method = nnx.eval_shape(partial(new_method, config, num_classes=2))
    graphdef, params = nnx.split(method.encoder)
    if not jax.tree.leaves(params):  # raw pixels: there is nothing to read
        return method.encoder
    path = method.evaluated.split("/")
    group = "params" if path == ["encoder"] else "batch_stats"  # a teacher follows the parameters
    with Checkpoints(run.checkpoints, owner=run.owner(config)) as checkpoints:
        restored = checkpoints.restore_part(group, *path, example=params, step=_step(config, run))
    if restored is None:
        raise UserError(f"{run.name} has no checkpoint in {run.checkpoints}: pre-train it first")
    _check_weights(restored[0], config, run)
    return nnx.merge(graphdef, restored[0])


def load_method(config: RunConfig, run: RunDir, num_classes: int | None = None) -> Method:
    """The trained run's whole method: its modules, batch statistics, and what else it holds.

    `num_classes` is needed by methods that learn from labels. Raises UserError if the run's checkpoint is not on this
    machine.
    """
    graphdef, params, batch_stats = split_method(nnx.eval_shape(partial(new_method, config, num_classes)))
    with Checkpoints(run.checkpoints, owner=run.owner(config)) as checkpoints:
        restored = checkpoints.restore_part("params", example=params, step=_step(config, run))
        if restored is None:
            raise UserError(f"{run.name} has no checkpoint in {run.checkpoints}: pre-train it first")
        if jax.tree.leaves(batch_stats):
            statistics = checkpoints.restore_part("batch_stats", example=batch_stats, step=_step(config, run))
            assert statistics is not None
            batch_stats = statistics[0]
    method = nnx.merge(graphdef, restored[0], batch_stats)
    _check_weights(nnx.split(evaluated_encoder(method))[1], config, run)
    return method


def weights_of(config: RunConfig, run: RunDir) -> str:
    """The fingerprint of the encoder that `load_encoder` loads."""
    return fingerprint_of(nnx.split(load_encoder(config, run))[1], config.model, config.model.image_size)


def _step(config: RunConfig, run: RunDir) -> int:
    return config.optim.last_step if run.step is None else run.step


def _check_weights(params: nnx.State, config: RunConfig, run: RunDir) -> None:
    """Raises UserError if the checkpoint's encoder is not the one that the results are of."""
    if run.pretrained and fingerprint_of(params, config.model, config.model.image_size) != run.weights:
        raise UserError(
            f"the checkpoint in {run.checkpoints} is of another training than {run.results}: "
            "pass the --workdir or --checkpoints that belongs to the results, or --force=train,evals"
        )
