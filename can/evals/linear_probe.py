"""Linear probe: a linear classifier on the frozen encoder's pooled features (Table 10; He et al., 2022).

Features -> BatchNorm without affine parameters -> linear, trained by LARS with a linear warm-up and a cosine to zero.
Two ways lead to the training features, and share every update of the classifier:

- streamed (the paper's): each step crops and flips its images anew and encodes them, which takes hours: a training
  that was stopped goes on at its last checkpoint and ends with the same numbers to the bit;
- cached (small scales): the un-augmented images are encoded once, and an epoch of the classifier is one compiled scan.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from can import keys
from can.config import LinearProbeConfig
from can.data import ImageSet
from can.errors import ConfigError, UserError
from can.evals.claimed import claim
from can.evals.classes import check_same_classes
from can.evals.encoder import Encoder, extract_features
from can.evals.probe_progress import Kept, Progress
from can.evals.probe_rounds import Round, cached_rounds, part_size_of, streamed_rounds
from can.objectives import cross_entropy
from can.optim import descend, lars, learning_rate_schedule
from can.runs.numerics import numerics
from can.runs.progress_line import ProgressLine
from can.system import hosts

BATCH_NORM_MOMENTUM = 0.9  # Table 10
BATCH_NORM_EPS = 1e-6  # He et al.'s
INIT_STDDEV = 0.01  # of the linear layer's weights, He et al.'s


class Classifier(nnx.Module):
    """BatchNorm without affine parameters, then a linear layer."""

    def __init__(self, num_features: int, num_classes: int, *, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(
            num_features,
            momentum=BATCH_NORM_MOMENTUM,
            epsilon=BATCH_NORM_EPS,
            use_bias=False,
            use_scale=False,
            use_fast_variance=False,  # E[x^2] - E[x]^2 cancels for features that hardly vary
            rngs=rngs,
        )
        self.linear = nnx.Linear(num_features, num_classes, kernel_init=nnx.initializers.normal(INIT_STDDEV), rngs=rngs)

    def __call__(self, features: Float[Array, "batch features"], *, train: bool) -> Float[Array, "batch classes"]:
        """Logits; normalised by the batch's statistics while training, by their running mean afterwards."""
        return self.linear(self.norm(features, use_running_average=not train))


class ProbeState(NamedTuple):
    """What a training step of the classifier changes."""

    params: nnx.State
    batch_stats: nnx.State
    opt_state: optax.OptState


class Schedule(NamedTuple):
    """The steps of the classifier's training, resolved for a training set."""

    batch_size: int
    steps_per_epoch: int
    stop: int  # the step to stop before
    learning_rate: Callable[[int], float]


def evaluate(
    encoder: Encoder,
    train: ImageSet,
    test: ImageSet,
    config: LinearProbeConfig,
    *,
    seed: int,
    cache_dir: Path | None = None,
    kept: Kept | None = None,
    log: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Trains the classifier on `train` and measures it on every image of `test`. Deterministic in `seed`.

    Args:
      encoder: stays as it is.
      train: labelled images.
      test: labelled images of the same classes.
      config: the protocol.
      seed: of the initialisation, the order of the images and their augmentation.
      cache_dir: where extracted features are kept between calls; None keeps none.
      kept: where a streamed training leaves its checkpoints, and goes on from one; None keeps none.
      log: called with the number of steps done and the means of `loss` and `train_top1` since the last call.

    Returns:
      `top1` and, from 10 classes on, `top5`: shares of the test images, in [0, 1]; `n`: the number of test images;
      `correct`, bool [n]: which of them top-1 counts; `chance`: the share of the test images that are of their most
      frequent class, which a constant guess gets;
      `train_top1` and `loss` (cross-entropy in nats): means over the training batches of the last epoch.

    Raises:
      ConfigError: the schedule cannot work, or checkpoints are there of a probe with other settings.
      DataError: see `check_same_classes`.
      UserError: the loss (says the step) or a feature is not finite, or a checkpoint cannot be written.
    """
    check_same_classes("a linear probe", train, test)
    assert train.num_classes is not None
    schedule = resolve_schedule(config, len(train))
    classifier = Classifier(encoder.num_features, train.num_classes, rngs=nnx.Rngs(keys.key(seed, "probe classifier")))
    progress: contextlib.AbstractContextManager[Progress | None] = contextlib.nullcontext()
    images = schedule.stop * schedule.batch_size
    line = ProgressLine(images, what="linear probe", unit="image", patient=True)
    if config.cache_features:

        def rounds_from(start_step: int) -> Iterator[Round]:
            assert start_step == 0  # an epoch takes a moment: its checkpoints would cost more than they spare
            return cached_rounds(encoder, train, schedule.batch_size, seed, cache_dir)

    else:

        def encoded(count: int) -> None:  # a step may take many minutes
            line.show(min(count, images))

        rounds_from = partial(streamed_rounds, encoder, train, schedule.batch_size, seed, encoded=encoded)
        if kept is not None:
            owner = hosts.decided(_claim, kept.work_dir, encoder, train, config, schedule.batch_size, seed)
            progress = Progress(kept, owner, schedule.stop)
    with line, progress as saved:
        classifier, losses, hits = _fit(classifier, rounds_from, config, schedule, log, saved)
    last_epoch = slice(-schedule.steps_per_epoch, None)
    fitted = {"train_top1": float(np.mean(hits[last_epoch])), "loss": float(np.mean(losses[last_epoch]))}
    features, labels = extract_features(encoder, test, cache_dir=cache_dir)
    chance = float(np.bincount(labels).max() / len(labels))
    return accuracy(classifier, features, labels) | {"n": len(labels), "chance": chance} | fitted


def resolve_schedule(config: LinearProbeConfig, num_images: int) -> Schedule:
    """Batch size, steps and learning rates for `num_images` training images.

    A batch is never larger than the training set, and the learning rate follows the real one: base_lr * batch / 256.
    An epoch drops its ragged last batch. A few steps teach a linear layer little, however small its set is: the epochs
    of training and warm-up have no fewer steps than those of `config.epoch_images` images. Raises ConfigError for a
    warm-up longer than the training.
    """
    batch_size = min(config.batch_size, num_images)
    steps_per_epoch = num_images // batch_size
    counted = max(steps_per_epoch, config.epoch_images // config.batch_size)
    total_steps = max(1, round(config.epochs * counted))
    warmup_steps = round(config.warmup_epochs * counted)
    if warmup_steps > total_steps:
        raise ConfigError(f"warmup_epochs {config.warmup_epochs:g} exceed the linear probe's {config.epochs:g} epochs")
    learning_rate = learning_rate_schedule(config.base_lr * batch_size / 256, warmup_steps, total_steps)
    return Schedule(batch_size, steps_per_epoch, min(config.max_steps or total_steps, total_steps), learning_rate)


def accuracy(
    classifier: Classifier, features: Float[np.ndarray, "n features"], labels: Int[np.ndarray, " n"]
) -> dict[str, Any]:
    """Shares of the n images whose label is the classifier's first choice, or among its first five.

    `correct`, bool [n], says which images' label is the first choice.
    """
    logits = classifier(jnp.asarray(features), train=False)
    _, ranked = jax.lax.top_k(logits, min(5, logits.shape[-1]))
    hits = np.asarray(ranked) == labels[:, None]
    top1 = {"top1": float(hits[:, 0].mean()), "correct": hits[:, 0]}
    return top1 | {"top5": float(hits.any(axis=1).mean())} if logits.shape[-1] >= 10 else top1


def _claim(
    work_dir: Path, encoder: Encoder, train: ImageSet, config: LinearProbeConfig, batch_size: int, seed: int
) -> dict[str, Any]:
    """See `claim`: all that decides the classifier's weights."""
    asked = {
        **dataclasses.asdict(config),
        "seed": seed,
        "numerics": numerics(),
        "images_encoded_at_once": part_size_of(encoder, batch_size),
        "encoder": encoder.fingerprint,
        "train": train.fingerprint,
    }
    return claim(
        work_dir / "linear_probe.json", asked, "linear probe", defaults=dataclasses.asdict(LinearProbeConfig())
    )


def _fit(
    classifier: Classifier,
    rounds_from: Callable[[int], Iterator[Round]],
    config: LinearProbeConfig,
    schedule: Schedule,
    log: Callable[[int, dict[str, float]], None] | None,
    progress: Progress | None,
) -> tuple[Classifier, Float[np.ndarray, " steps"], Float[np.ndarray, " steps"]]:
    """The trained classifier, and the loss and the accuracy of each training batch."""
    graphdef, params, batch_stats = nnx.split(classifier, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # flax's stub
    state = ProbeState(params, batch_stats, _optimizer(config).init(params))
    losses, hits = np.zeros(schedule.stop, np.float32), np.zeros(schedule.stop, np.float32)
    step = 0
    if progress is not None:
        (state, losses, hits), step = progress.restore((state, losses, hits))
    rounds = rounds_from(step)
    while step < schedule.stop:
        features, labels, order = next(rounds)
        order = order[: schedule.stop - step]
        rates = np.array([schedule.learning_rate(step + i) for i in range(len(order))], np.float32)
        state, (new_losses, new_hits) = _train_steps(graphdef, config, state, features, labels, order, rates)
        new = slice(step, step + len(order))
        losses[new], hits[new] = new_losses, new_hits
        if not np.isfinite(losses[new]).all():
            failed = next(i for i in range(new.start, new.stop) if not math.isfinite(losses[i]))
            raise UserError(
                f"the linear probe's loss became {losses[failed]} at step {failed} of {schedule.stop}: "
                f"lower its base_lr, which is {config.base_lr:g}"
            )
        step = new.stop
        if progress is not None:
            progress.save_if_due(step, (state, losses, hits))
        if log:
            log(step, {"loss": float(new_losses.mean()), "train_top1": float(new_hits.mean())})
    return nnx.merge(graphdef, state.params, state.batch_stats), losses.astype(float), hits.astype(float)


def _optimizer(config: LinearProbeConfig) -> optax.GradientTransformation:
    return lars(config.weight_decay, config.momentum)


@partial(jax.jit, static_argnums=(0, 1))
def _train_steps(
    graphdef: nnx.GraphDef,
    config: LinearProbeConfig,
    state: ProbeState,
    features: Float[Array, "n features"],
    labels: Int[Array, " n"],
    order: Int[Array, "steps batch"],
    rates: Float[Array, " steps"],
) -> tuple[ProbeState, tuple[Float[Array, " steps"], Float[Array, " steps"]]]:
    """One update for each batch of `order`; also returns each batch's loss and accuracy."""
    optimizer = _optimizer(config)

    def loss_fn(params: nnx.State, batch_stats: nnx.State, x: Array, y: Array) -> tuple[Array, tuple[nnx.State, Array]]:
        classifier = nnx.merge(graphdef, params, batch_stats, copy=True)
        logits = classifier(x, train=True)
        hit = jnp.mean(jnp.argmax(logits, axis=-1) == y)
        return cross_entropy(logits, y), (nnx.state(classifier, nnx.BatchStat), hit)

    def update(state: ProbeState, batch: tuple[Array, Array]) -> tuple[ProbeState, tuple[Array, Array]]:
        chosen, rate = batch
        gradient = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (batch_stats, hit)), grads = gradient(state.params, state.batch_stats, features[chosen], labels[chosen])
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return ProbeState(descend(state.params, updates, rate), batch_stats, opt_state), (loss, hit)

    return jax.lax.scan(update, state, (order, rates))
