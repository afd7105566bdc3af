"""Linear probe: a linear classifier on the frozen encoder's pooled features (Table 10; He et al., 2022).

Features -> BatchNorm without affine parameters -> linear, trained by LARS with a linear warm-up and a cosine to zero.
Two ways lead to the training features, and share every update of the classifier:

- streamed (the paper's): each step crops and flips its images anew and encodes them;
- cached (small scales): the un-augmented images are encoded once, and an epoch of the classifier is one compiled scan.
"""

from __future__ import annotations

import itertools
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
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from can import keys
from can.augment import augment, normalize
from can.config import AugmentConfig, LinearProbeConfig
from can.data import ImageSet, batches
from can.errors import ConfigError, UserError
from can.evals.classes import check_same_classes
from can.evals.encoder import Encoder, extract_features
from can.evals.on_mesh import on_all_hosts
from can.objectives import cross_entropy
from can.optim import descend, lars, learning_rate_schedule
from can.sharding import local_rows, make_mesh, put_batch

BATCH_NORM_MOMENTUM = 0.9  # Table 10
BATCH_NORM_EPS = 1e-6  # He et al.'s
INIT_STDDEV = 0.01  # of the linear layer's weights, He et al.'s
AUGMENTATION = AugmentConfig(name="mae", crop_area_min=0.08)  # RandomResizedCrop and flip


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


class Round(NamedTuple):
    """Training images that are at hand at once, and the batches to make of them in turn."""

    features: Float[Array | np.ndarray, "n features"]
    labels: Int[Array | np.ndarray, " n"]
    order: Int[np.ndarray, "steps batch"]


def evaluate(
    encoder: Encoder,
    train: ImageSet,
    test: ImageSet,
    config: LinearProbeConfig,
    *,
    seed: int,
    cache_dir: Path | None = None,
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
      log: called with the number of steps done and the means of `loss` and `train_top1` since the last call.

    Returns:
      `top1` and, from 10 classes on, `top5`: shares of the test images, in [0, 1]; `n`: the number of test images;
      `correct`, bool [n]: which of them top-1 counts; `chance`: the share of the test images that are of their most
      frequent class, which a constant guess gets;
      `train_top1` and `loss` (cross-entropy in nats): means over the training batches of the last epoch.

    Raises:
      ConfigError: the schedule cannot work.
      DataError: see `check_same_classes`.
      UserError: the loss (says the step) or a feature is not finite.
    """
    check_same_classes("a linear probe", train, test)
    assert train.num_classes is not None
    schedule = resolve_schedule(config, len(train))
    if config.cache_features:
        rounds = cached_rounds(encoder, train, schedule.batch_size, seed, cache_dir)
    else:
        rounds = streamed_rounds(encoder, train, schedule.batch_size, seed)
    classifier, losses, hits = _fit(
        Classifier(encoder.num_features, train.num_classes, rngs=nnx.Rngs(keys.key(seed, "probe classifier"))),
        rounds,
        config,
        schedule,
        log,
    )
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


def _fit(
    classifier: Classifier,
    rounds: Iterator[Round],
    config: LinearProbeConfig,
    schedule: Schedule,
    log: Callable[[int, dict[str, float]], None] | None,
) -> tuple[Classifier, list[float], list[float]]:
    """The trained classifier, and the loss and the accuracy of each training batch."""
    graphdef, params, batch_stats = nnx.split(classifier, nnx.Param, nnx.BatchStat)  # type: ignore[misc]  # flax's stub
    state = ProbeState(params, batch_stats, _optimizer(config).init(params))
    losses: list[float] = []
    hits: list[float] = []
    while (step := len(losses)) < schedule.stop:
        features, labels, order = next(rounds)
        order = order[: schedule.stop - step]
        rates = np.array([schedule.learning_rate(step + i) for i in range(len(order))], np.float32)
        state, (new_losses, new_hits) = _train_steps(graphdef, config, state, features, labels, order, rates)
        losses += new_losses.tolist()
        hits += new_hits.tolist()
        if not np.isfinite(new_losses).all():
            failed = next(i for i in range(step, len(losses)) if not math.isfinite(losses[i]))
            raise UserError(
                f"the linear probe's loss became {losses[failed]} at step {failed} of {schedule.stop}: "
                f"lower its base_lr, which is {config.base_lr:g}"
            )
        if log:
            log(len(losses), {"loss": float(new_losses.mean()), "train_top1": float(new_hits.mean())})
    return nnx.merge(graphdef, state.params, state.batch_stats), losses, hits


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


def cached_rounds(
    encoder: Encoder, train: ImageSet, batch_size: int, seed: int, cache_dir: Path | None
) -> Iterator[Round]:
    """A round an epoch: all the images, un-augmented, in a new order."""
    features, labels = map(jnp.asarray, extract_features(encoder, train, cache_dir=cache_dir))
    steps = len(labels) // batch_size
    order_seed = keys.int_seed(seed, "probe order")
    for epoch in itertools.count():
        order = np.random.default_rng((order_seed, epoch)).permutation(len(labels)).astype(np.int32)
        yield Round(features, labels, order[: steps * batch_size].reshape(steps, batch_size))


def streamed_rounds(encoder: Encoder, train: ImageSet, batch_size: int, seed: int) -> Iterator[Round]:
    """A round a step: a batch of augmented images, read and encoded `encoder.batch_size` at a time to bound memory."""
    mesh = make_mesh()
    part_size = -(-min(encoder.batch_size, batch_size) // mesh.size) * mesh.size
    parts = batches(
        train,
        batch_size=part_size,
        seed=keys.int_seed(seed, "probe order"),
        image_size=encoder.image_size,
        crop_area=(AUGMENTATION.crop_area_min, AUGMENTATION.crop_area_max),
        rows=local_rows(mesh, part_size).tolist(),
    )
    key, placed = keys.key(seed, "probe augmentation"), encoder.on(mesh)
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    for index, part in enumerate(parts):
        batch = put_batch(part, mesh, part_size)
        views = _augmented(jax.random.fold_in(key, index), batch["image"], encoder.image_size)
        pending.append(on_all_hosts((placed.encode(views), batch["label"])))
        if sum(len(labels) for _, labels in pending) < batch_size:
            continue
        features, labels = map(np.concatenate, zip(*pending, strict=True))
        yield Round(features[:batch_size], labels[:batch_size], np.arange(batch_size, dtype=np.int32)[None])
        pending = [(features[batch_size:], labels[batch_size:])]


@partial(jax.jit, static_argnums=2)
def _augmented(
    key: PRNGKeyArray, images: UInt8[Array, "batch *views height width 3"], image_size: int
) -> Float[Array, "batch size size 3"]:
    return normalize(augment(key, images, AUGMENTATION, image_size=image_size, views=1)[0])
