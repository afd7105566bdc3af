"""Nearest neighbours of frozen features: no training, so a quick look at what an encoder knows (Wu et al., 2018)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from can.config import KnnConfig
from can.data import ImageSet
from can.errors import ConfigError
from can.evals.classes import check_same_classes
from can.evals.encoder import Encoder, extract_features

ROWS = 1024  # test images that are compared with all training images at a time


def evaluate(
    encoder: Encoder, train: ImageSet, test: ImageSet, config: KnnConfig, *, cache_dir: Path | None = None
) -> dict[str, Any]:
    """Classifies each test image by the training images whose features are most alike. Nothing is random.

    Args:
      encoder: stays as it is.
      train: labelled images, whose neighbourhood is searched.
      test: labelled images of the same classes.
      config: the number of neighbours and their weighting.
      cache_dir: where extracted features are kept between calls; None keeps none.

    Returns:
      `top1`, a share of the test images in [0, 1]; `n`, their number; `correct`, bool [n]; `chance`, the share of the
      most frequent class.

    Raises:
      ConfigError: there are fewer training images than neighbours.
      DataError: see `check_same_classes`.
    """
    check_same_classes("nearest neighbours", train, test)
    if config.k > len(train):
        raise ConfigError(f"knn_k {config.k} exceeds the {len(train)} training images: pass a smaller --knn_k")
    assert train.num_classes is not None
    known, labels = extract_features(encoder, train, cache_dir=cache_dir)
    asked, truth = extract_features(encoder, test, cache_dir=cache_dir)
    predicted = predict(known, labels, asked, config, train.num_classes)
    correct = predicted == truth
    counts = np.bincount(truth, minlength=train.num_classes)
    return {
        "top1": float(correct.mean()),
        "n": len(truth),
        "correct": correct,
        "chance": float(counts.max() / len(truth)),
    }


def predict(
    known: Float[np.ndarray, "train features"],
    labels: Int[np.ndarray, " train"],
    asked: Float[np.ndarray, "test features"],
    config: KnnConfig,
    num_classes: int,
) -> Int[np.ndarray, " test"]:
    """The class with most weight among the k training images of largest cosine, each of weight exp(cosine / tau)."""
    placed, classes = _unit(jnp.asarray(known)), jnp.asarray(labels)
    parts = [
        np.asarray(_vote(placed, classes, jnp.asarray(asked[start : start + ROWS]), config, num_classes))
        for start in range(0, len(asked), ROWS)
    ]
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(3, 4))
def _vote(
    known: Float[Array, "train features"],
    labels: Int[Array, " train"],
    asked: Float[Array, "rows features"],
    config: KnnConfig,
    num_classes: int,
) -> Int[Array, " rows"]:
    cosines, neighbours = jax.lax.top_k(_unit(asked) @ known.T, config.k)  # [R, k]
    weights = jnp.exp((cosines - 1) / config.temperature)  # the factor exp(-1 / tau) keeps them finite
    votes = jax.nn.one_hot(labels[neighbours], num_classes) * weights[:, :, None]
    return votes.sum(1).argmax(-1)


def _unit(features: Float[Array, "rows features"]) -> Float[Array, "rows features"]:
    return features / jnp.maximum(jnp.linalg.norm(features, axis=-1, keepdims=True), 1e-12)
