"""Few-shot classification: a classifier of frozen features from k labelled images of each class (Figure 5, App. C).

Two rules, both in the literature and both reported:

- `lsr` (Dosovitskiy et al., 2021; Kolesnikov et al., 2020): features whitened by the chosen images' mean and standard
  deviation, a constant feature of 100 for the bias, targets of 1 and -1, ridge regression in closed form.
- `sgd` (App. C): a linear layer, from zero, trained by SGD with momentum .9 and a cosine to zero on the frozen features
  of the un-augmented images. The paper gives base learning rate, steps and, with `resolution="bit"`, 384 pixels;
  momentum and cosine are our choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jaxtyping import Array, Bool, Float, Int

from can import keys
from can.config import FewShotConfig
from can.data import ArrayImages, EncodedImages, ImageSet
from can.data.decode import decode_rgb
from can.errors import ConfigError
from can.evals.classes import check_same_classes, labels_of
from can.evals.encoder import Encoder, extract_features
from can.objectives import cross_entropy

BIAS = 100.0  # the constant feature; large, so that the bias is hardly regularised
WHITENING_EPS = 1e-5
MOMENTUM = 0.9  # of "sgd"
SMALL_AREA = 96**2  # pixels: sets of smaller images than this ...
SMALL_SIZES, LARGE_SIZES = (160, 128), (448, 384)  # ... have the first (resize, crop) of BiT's rule, others the second
L2_GRID = tuple(2.0**power for power in range(-10, 20))  # of the original rule


class Hits(NamedTuple):
    """By the number of shots: which test images are right, and how many classes have fewer images than shots, if any.

    Attributes:
      right: of each choice of the images and, by the rule `lsr`, each penalty; `sgd` has one column for these.
      short_classes: of those numbers of shots for which there are some.
    """

    right: dict[int, Bool[np.ndarray, "choices l2s n"]]
    short_classes: dict[int, int]


def evaluate(
    encoder: Encoder,
    train: ImageSet,
    test: ImageSet,
    config: FewShotConfig,
    *,
    seed: int,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Accuracy on every image of `test` from k images a class of `train`, for each k. Deterministic in `seed`.

    The choices of k images are nested (the 5 contain the 1), and a class with fewer than k images gives all it has.
    Only chosen images are encoded. With a `cache_dir`, features are kept there, so that an interrupted evaluation
    encodes nothing twice.

    Returns:
      `{k}shot`: mean accuracy, in [0, 1], over `config.choices` random choices of the images; `{k}shot_sd`: its
      standard deviation (n - 1) over them, if there are several; `n`: the number of test images; `correct`: by the
      names of these means, bool [choices, n], which of the test images each choice gets right; `short_classes`: by the
      names of those means that it is about, how many classes have fewer than k images.

    Raises:
      DataError: see `check_same_classes`.
    """
    found = hits(encoder, train, test, config, seed=seed, l2s=(config.l2,), cache_dir=cache_dir)
    return summary({shots: table[:, 0] for shots, table in found.right.items()}, found.short_classes)


def hits(
    encoder: Encoder,
    train: ImageSet,
    test: ImageSet,
    config: FewShotConfig,
    *,
    seed: int,
    l2s: Sequence[float],
    cache_dir: Path | None = None,
) -> Hits:
    """What `evaluate` takes the means of."""
    check_same_classes("few-shot classification", train, test)
    assert train.num_classes is not None
    # Read before anything is encoded: the choice needs the labels alone.
    all_labels = labels_of(train)
    most = int(np.bincount(all_labels).max())
    if max(config.shots) > most:
        raise ConfigError(
            f"few-shot shots {max(config.shots)} are more than the {most} images of the largest class of {train.name} "
            f"{train.split}: pass fewer"
        )
    lacking_images = short_classes(all_labels, train.num_classes, config.shots)
    for shots, lacking, least in lacking_images:
        logging.warning(
            "few-shot, %s %s: %d of %d classes have fewer images than %d shots (the smallest has %d) and give all",
            *(train.name, train.split, lacking, train.num_classes, shots, least),
        )
    generators = [np.random.default_rng(keys.int_seed(seed, "few-shot choice", i)) for i in range(config.choices)]
    ranks = [class_ranks(all_labels, rng) for rng in generators]
    used = np.flatnonzero(np.min(ranks, axis=0) < max(config.shots))
    resize = None
    if config.rule == "sgd" and config.resolution == "bit":
        resize, crop = bit_sizes(train)
        encoder = encoder.at_size(crop)
    features, labels = extract_features(encoder, subset(train, used), resize=resize, cache_dir=cache_dir)
    test_features, test_labels = extract_features(encoder, test, resize=resize, cache_dir=cache_dir)
    found = {}
    for shots in config.shots:
        rows = []
        for choice, rank in enumerate(ranks):
            chosen = rank[used] < shots
            x, y = features[chosen], labels[chosen]
            if config.rule == "lsr":
                logits = ridge_logits(x, y, test_features, train.num_classes, l2s)
            else:
                order_seed = keys.int_seed(seed, "few-shot order", choice)
                logits = sgd_logits(x, y, test_features, train.num_classes, config, seed=order_seed)[None]
            rows.append(logits.argmax(-1) == test_labels)
        found[shots] = np.array(rows)
    return Hits(found, {shots: lacking for shots, lacking, _ in lacking_images})


def short_classes(labels: Int[np.ndarray, " n"], num_classes: int, shots: Sequence[int]) -> list[tuple[int, int, int]]:
    """Each number of shots that some classes have too few images for, how many classes, and images of the smallest."""
    counts = np.bincount(labels, minlength=num_classes)
    return [(k, int((counts < k).sum()), int(counts.min())) for k in shots if (counts < k).any()]


def bit_sizes(image_set: ImageSet) -> tuple[int, int]:
    """What images are scaled to and the centre that is cut out of that, in pixels: BiT-HyperRule (Kolesnikov et al.).

    Small images become 160 and 128 pixels; others 448 and 384, where BiT has 512 and 480 and our paper 384 (App. C). A
    set's images are small if its first one is.
    """
    if isinstance(image_set, ArrayImages):
        height, width = image_set.images.shape[1:3]
    else:
        assert isinstance(image_set, EncodedImages)
        height, width = decode_rgb(image_set[0][0], image_set.describe(0)).shape[:2]
    return SMALL_SIZES if height * width < SMALL_AREA else LARGE_SIZES


def summary(by_shots: Mapping[int, Bool[np.ndarray, "choices n"]], short: Mapping[int, int]) -> dict[str, Any]:
    """What `evaluate` returns, of which images each choice gets right, and `Hits.short_classes`."""
    found: dict[str, Any] = {"n": next(iter(by_shots.values())).shape[1], "correct": {}}
    found["short_classes"] = {f"{shots}shot": classes for shots, classes in short.items()}
    for shots, correct in by_shots.items():
        values = correct.mean(-1)
        found[f"{shots}shot"] = float(values.mean())
        if len(values) > 1:
            found[f"{shots}shot_sd"] = float(values.std(ddof=1))
        found["correct"][f"{shots}shot"] = correct
    return found


def class_ranks(labels: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Each image's place, from 0, in a random order of its class: the k-shot choice is those with ranks below k."""
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.searchsorted(labels[by_class], labels[by_class])
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts
    return ranks


def subset(image_set: ImageSet, indices: Int[np.ndarray, " chosen"]) -> ImageSet:
    """The images of rising `indices`, as a split of its own whose fingerprint tells which they are."""
    breaks = np.flatnonzero(np.diff(indices) > 1) + 1
    runs = np.split(indices, breaks)
    return image_set.take(image_set.split, [(int(run[0]), int(run[-1]) + 1) for run in runs])


def ridge_logits(
    features: Float[np.ndarray, "n features"],
    labels: Int[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m features"],
    num_classes: int,
    l2s: Sequence[float],
) -> Float[np.ndarray, "l2s m classes"]:
    """Ridge regression of +-1 targets on whitened features, for each penalty of `l2s`, applied to the test features.

    Minimises |X w - y|^2 + l2 |w|^2, the bias (a constant feature of 100) included. One eigendecomposition, of the
    smaller of X'X and XX', serves all penalties; in double precision.
    """
    mean, std = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64) + WHITENING_EPS
    x, test = (
        np.pad((part - mean) / std, ((0, 0), (0, 1)), constant_values=BIAS) for part in (features, test_features)
    )
    targets = 2.0 * (labels[:, None] == np.arange(num_classes)) - 1.0
    if len(x) >= x.shape[1]:
        eigenvalues, left = np.linalg.eigh(x.T @ x)
        right = left.T @ (x.T @ targets)
    else:
        eigenvalues, vectors = np.linalg.eigh(x @ x.T)
        left, right = x.T @ vectors, vectors.T @ targets
    projected = test @ left
    return np.stack([projected @ (right / (eigenvalues + l2)[:, None]) for l2 in l2s])


def sgd_logits(
    features: Float[np.ndarray, "n features"],
    labels: Int[np.ndarray, " n"],
    test_features: Float[np.ndarray, "m features"],
    num_classes: int,
    config: FewShotConfig,
    *,
    seed: int,
) -> Float[np.ndarray, "m classes"]:
    """Logits of a linear layer trained by the rule `sgd`; `seed` orders the images.

    A batch is never larger than the set, and the peak learning rate is base_lr * batch / 256 for the real one.
    """
    rng = np.random.default_rng(seed)
    batch_size = min(config.batch_size, len(labels))
    epochs = (rng.permutation(len(labels)) for _ in itertools.count())
    stream = itertools.chain.from_iterable(epochs)
    order = np.fromiter(itertools.islice(stream, config.steps * batch_size), np.int32).reshape(config.steps, -1)
    arrays = (jnp.asarray(array) for array in (features, labels, order))
    weights, bias = _train_head(*arrays, num_classes, config.base_lr)
    return test_features @ np.asarray(weights) + np.asarray(bias)


@partial(jax.jit, static_argnums=(3, 4))
def _train_head(
    features: Float[Array, "n features"],
    labels: Int[Array, " n"],
    order: Int[Array, "steps batch"],
    num_classes: int,
    base_lr: float,
) -> tuple[Float[Array, "features classes"], Float[Array, " classes"]]:
    steps, batch_size = order.shape
    optimizer = optax.sgd(optax.cosine_decay_schedule(base_lr * batch_size / 256, steps), momentum=MOMENTUM)

    def loss(params: tuple[Array, Array], chosen: Array) -> Array:
        return cross_entropy(features[chosen] @ params[0] + params[1], labels[chosen])

    def update(state: tuple, chosen: Array) -> tuple[tuple, None]:
        params, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(params, chosen), opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    params = (jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
    (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), order)
    return params


def best_l2_by_mean_rank(accuracies: Float[np.ndarray, "sets l2s"]) -> int:
    """The original rule of the penalty: the column with the best mean rank over the data sets; the first of equals.

    Equal accuracies share the mean of their ranks. The accuracies are those of the test sets, which this rule
    therefore looks at.
    """
    higher = (accuracies[:, None, :] > accuracies[:, :, None]).sum(-1)
    equal = (accuracies[:, None, :] == accuracies[:, :, None]).sum(-1)
    return int((higher + (equal + 1) / 2).mean(0).argmin())
