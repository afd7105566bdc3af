"""Finetuning: all of the encoder's weights and a linear classifier are trained on labelled images (Table 9).

AdamW with a learning rate that decays layer by layer towards the input, stochastic depth, label smoothing; crop, flip,
RandAugment, random erasing and (where asked for) mixup and CutMix, all inside the jitted step. A training goes on at
the last epoch's checkpoint after an interruption and ends with the same numbers to the bit.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jaxtyping import Array, Bool

from can import keys
from can.augment import eval_view
from can.config import FinetuneConfig, OptimConfig
from can.data import ImageSet, batches
from can.errors import UserError
from can.evals.claimed import STATE, claim
from can.evals.classes import check_same_classes
from can.evals.encoder import Encoder
from can.evals.finetune_step import FinetunedViT, FinetuneState, make_train_step, resolve_optim
from can.evals.on_mesh import eval_batches_on, on_all_hosts
from can.models import ViT
from can.optim import adamw, learning_rate_schedule
from can.runs.checkpoint import Checkpoints
from can.runs.log import TrainLog
from can.runs.numerics import numerics
from can.sharding import batch_sharding, local_rows, make_mesh, put, put_batch, state_sharding, traced_for
from can.system import hosts
from can.system.files import read_json

TEST_BATCH = 256  # images a forward pass; changes no result
CHECK_EVERY = 50  # steps between looks at what was measured: the host may run that far ahead of the device

Log = Callable[[int, dict[str, float]], None]


def evaluate(
    model: ViT,
    train: ImageSet,
    test: ImageSet,
    config: FinetuneConfig,
    *,
    seed: int,
    work_dir: Path,
    workers: int = 0,
    mesh: jax.sharding.Mesh | None = None,
    log: Log | None = None,
) -> dict[str, Any]:
    """Finetunes a copy of `model` and measures it on every image of `test` after each epoch.

    Args:
      model: the pre-trained encoder; stays as it is.
      train: labelled images.
      test: labelled images of the same classes.
      config: the protocol.
      seed: of the classifier, the order of the images, their augmentation and the dropped branches.
      work_dir: where checkpoints, `curve.csv` and the final weights (see `load_finetuned`) go; a training that was
        interrupted there is gone on with, a finished one is only read.
      workers: processes that decode images, for sets that do not fit decoded in memory.
      mesh: the devices; None takes all of them for data parallelism.
      log: called with the number of steps done and the row of the curve after each epoch.

    Returns:
      `top1` and, from 10 classes on, `top5` of the last epoch: shares of the test images, in [0, 1]; `top1_best`, of
      the best epoch, which is chosen on the test set (the paper does not say which one it reports; `top1` is free of
      that choice); `loss`: the mean training loss of the last epoch, in nats; `n`: the number of test images;
      `correct`, bool [n]: which of them `top1` counts.

    Raises:
      ConfigError: the schedule cannot work, or `work_dir` holds a finetuning with other settings.
      DataError: see `check_same_classes`.
      UserError: the loss or the gradient is not finite (says the step; the weights of that step are not saved), the
        disk is full, or all checkpoints are damaged.
    """
    check_same_classes("finetuning", train, test)
    assert train.num_classes is not None
    mesh = mesh or make_mesh()
    optim, steps_per_epoch = resolve_optim(config, len(train))
    last_step = optim.last_step
    owner = hosts.decided(_claim, work_dir, model, train, test, config, seed, last_step)
    encoder = nnx.clone(model)
    graphdef, params = nnx.split(
        FinetunedViT(
            encoder,
            train.num_classes,
            norm_after_pool=config.norm_after_pool,
            rngs=nnx.Rngs(keys.key(seed, "finetuning classifier")),
        )
    )
    state = FinetuneState(jnp.zeros((), jnp.int32), params, adamw(optim).init(params))
    shardings = state_sharding(state, mesh)
    state = put(state, shardings)
    train_step = jax.jit(
        traced_for(mesh, make_train_step(graphdef, config, optim, model.config.image_size, train.num_classes)),
        in_shardings=(shardings, batch_sharding(mesh), None, None),
        out_shardings=(shardings, None),
        donate_argnums=0,
    )
    schedule = learning_rate_schedule(optim.peak_lr, optim.warmup_steps, optim.total_steps, config.last_lr)
    key = keys.key(seed, "finetuning")
    curve_path = work_dir / "curve.csv"

    with Checkpoints(work_dir / STATE, owner=owner) as checkpoints:
        restored = checkpoints.restore(state)
        # The curve beside the checkpoints may have been changed: the one in the checkpoint is what was measured.
        if restored is not None and not (
            checkpoints.bring_back(work_dir, curve_path.name)
            and hosts.decided(_has_curve, curve_path, restored[1], steps_per_epoch)
        ):
            logging.warning("nothing vouches for the numbers in %s: this finetuning starts anew", curve_path)
            checkpoints.clear()
            restored = None
        state, start_step = restored or (state, 0)
        correct: Bool[np.ndarray, " n"] | None = None  # of the last epoch's weights
        source = batches(
            train,
            batch_size=optim.batch_size,
            seed=keys.int_seed(seed, "finetuning order"),
            start_step=start_step,
            image_size=model.config.image_size,
            crop_area=(config.crop_area_min, 1.0),
            workers=workers,
            rows=local_rows(mesh, optim.batch_size).tolist(),
        )
        with TrainLog(curve_path, None, last_step, start_step) as curve, contextlib.closing(source):
            pending: list[dict[str, Array]] = []  # measurements that the host has not waited for
            losses: list[float] = []  # of this epoch
            for step in range(start_step, last_step):
                batch = put_batch(next(source), mesh, optim.batch_size)
                state, metrics = train_step(state, batch, np.float32(schedule(step)), key)
                pending.append(metrics)
                done = step + 1
                epoch_ends = done % steps_per_epoch == 0 or done == last_step
                if epoch_ends or done % CHECK_EVERY == 0:
                    losses += _check_finite(pending, done, optim)
                    pending.clear()
                    curve.show(done, {"loss": float(np.mean(losses))})
                if epoch_ends:
                    row = {"loss": float(np.mean(losses)), "lr": schedule(step)}
                    found = accuracy(graphdef, state.params, test, model.config.image_size, mesh)
                    correct = found.pop("correct")
                    row |= found
                    losses.clear()
                    curve.write(done, row)
                    checkpoints.save(done, state, files={curve_path.name: curve.written_through()})
                    if log:
                        log(done, row)
        curve.publish(work_dir)
    found = hosts.decided(read_curve, curve_path) | {"n": len(test)}
    if correct is None:  # the training was finished: its weights are there, and the curve has shares alone
        correct = accuracy(graphdef, state.params, test, model.config.image_size, mesh)["correct"]
    # Another kind of processor than the curve's may see an image otherwise: the share is that of these images.
    return found | {"top1": float(correct.mean()), "correct": correct}


def accuracy(
    graphdef: nnx.GraphDef, params: nnx.State, test: ImageSet, image_size: int, mesh: jax.sharding.Mesh
) -> dict[str, Any]:
    """`top1` and, from 10 classes on, `top5`: the share of all images whose label is among the first guesses.

    `correct`, bool [n], says which images' label is the first guess.
    """
    hits = np.concatenate(
        [
            on_all_hosts(_hits(graphdef, params, batch))[:count]
            for batch, count in eval_batches_on(mesh, test, TEST_BATCH, image_size)
        ]
    )
    top1 = {"top1": float(hits[:, 0].mean()), "correct": hits[:, 0]}
    return top1 | {"top5": float(hits.any(axis=1).mean())} if (test.num_classes or 0) >= 10 else top1


@partial(jax.jit, static_argnums=0)
def _hits(graphdef: nnx.GraphDef, params: nnx.State, batch: dict[str, Array]) -> Bool[Array, "batch guesses"]:
    """Which of the first guesses, at most five, is each image's label."""
    logits = nnx.merge(graphdef, params).logits(eval_view(batch["image"]))
    _, ranked = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    return ranked == batch["label"][:, None]


def _has_curve(path: Path, step: int, steps_per_epoch: int) -> bool:
    """Whether the curve has a row with an accuracy for each epoch up to `step`."""
    ends = [*range(steps_per_epoch, step + 1, steps_per_epoch)]
    ends += [step] if not ends or ends[-1] != step else []
    try:
        rows = [row for row in _rows_of_curve(path) if row["step"] <= step]
        return [row["step"] for row in rows] == ends and all(0 <= row["top1"] <= 1 for row in rows)
    except (OSError, TypeError, KeyError, ValueError, csv.Error):
        return False


def _rows_of_curve(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def read_curve(path: Path) -> dict[str, float]:
    """What `evaluate` returns, out of the curve of all epochs."""
    rows = _rows_of_curve(path)
    last = {name: rows[-1][name] for name in ("top1", "top5", "loss") if name in rows[-1]}
    return last | {"top1_best": max(row["top1"] for row in rows)}


def _claim(
    work_dir: Path, model: ViT, train: ImageSet, test: ImageSet, config: FinetuneConfig, seed: int, last_step: int
) -> dict[str, Any]:
    """See `can.evals.claimed`: all that decides the weights and what is measured of them."""
    asked: dict[str, Any] = {
        **dataclasses.asdict(config),
        "seed": seed,
        "numerics": numerics(),
        "last_step": last_step,
        "encoder": Encoder.from_model(model).fingerprint,
        "train": train.fingerprint,
        "test": test.fingerprint,
    }
    defaults = dataclasses.asdict(FinetuneConfig()) | {"numerics": asked["numerics"]}
    return claim(work_dir / "finetune.json", asked, "finetuning", defaults=defaults)


def load_finetuned(model: ViT, num_classes: int, work_dir: Path) -> FinetunedViT:
    """The finetuned model that `evaluate` left in `work_dir`, for an encoder of `model`'s structure.

    Raises UserError if there is none, if it is not trained to its end, or if its last checkpoint is damaged.
    """
    settings = work_dir / "finetune.json"
    with Checkpoints(work_dir / STATE, owner=read_json(settings) if settings.exists() else None) as checkpoints:
        step = checkpoints.latest_step
        if step is None or not settings.exists():
            raise UserError(f"there is no finetuned model in {work_dir}: run --eval=finetune on this machine first")
        made = dataclasses.asdict(FinetuneConfig()) | read_json(settings)  # a later field counts as its default
        last_step = made.get("last_step", step)
        abstract = nnx.eval_shape(
            lambda: FinetunedViT(
                nnx.clone(model), num_classes, norm_after_pool=made["norm_after_pool"], rngs=nnx.Rngs(0)
            )
        )
        graphdef, params = nnx.split(abstract)
        restored = checkpoints.restore_part("params", example=params, step=last_step)
    if restored is None:
        raise UserError(
            f"the finetuning in {work_dir} stopped at step {step} of {last_step}: finish --eval=finetune first"
        )
    return nnx.merge(graphdef, restored[0])


def _check_finite(pending: list[dict[str, Array]], done: int, optim: OptimConfig) -> list[float]:
    """The losses of the steps up to `done`, as numbers.

    Raises UserError at the first step whose loss, or whose gradient's norm, is not finite. A gradient that is not
    spoils the weights of its own step, the loss only tells of them in the next: too late for a step that is saved.
    """
    for step, metrics in enumerate(pending, start=done - len(pending) + 1):
        for what, value in (("loss", metrics["loss"]), ("gradient's norm", metrics["grad_norm"])):
            if not math.isfinite(value):
                raise UserError(
                    f"finetuning's {what} became {float(value)} at step {step} of {optim.last_step}: "
                    f"lower its base_lr, which is {optim.base_lr:g}"
                )
    return [float(metrics["loss"]) for metrics in pending]
