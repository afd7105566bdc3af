"""What a linear probe learns from, in rounds: features that were extracted once, or those of images cropped anew."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from can import keys
from can.augment import augment, normalize
from can.config import AugmentConfig
from can.data import ImageSet, batches
from can.evals.encoder import Encoder, extract_features
from can.evals.on_mesh import on_all_hosts
from can.sharding import local_rows, make_mesh, put_batch

AUGMENTATION = AugmentConfig(name="mae", crop_area_min=0.08)  # RandomResizedCrop and flip


class Round(NamedTuple):
    """Training images that are at hand at once, and the batches to make of them in turn."""

    features: Float[Array | np.ndarray, "n features"]
    labels: Int[Array | np.ndarray, " n"]
    order: Int[np.ndarray, "steps batch"]


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


def streamed_rounds(
    encoder: Encoder,
    train: ImageSet,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    *,
    encoded: Callable[[int], None] | None = None,
) -> Iterator[Round]:
    """A round a step: a batch of augmented images, read and encoded a part at a time to bound memory.

    The rounds from `start_step` on are those of an iterator that starts at 0. `encoded` is told how many images are.
    """
    mesh, part_size = make_mesh(), part_size_of(encoder, batch_size)
    first_part, used = divmod(start_step * batch_size, part_size)  # images of the part that earlier steps took
    parts = batches(
        train,
        batch_size=part_size,
        seed=keys.int_seed(seed, "probe order"),
        start_step=first_part,
        image_size=encoder.image_size,
        crop_area=(AUGMENTATION.crop_area_min, AUGMENTATION.crop_area_max),
        rows=local_rows(mesh, part_size).tolist(),
    )
    key, placed = keys.key(seed, "probe augmentation"), encoder.on(mesh)
    pending: list[tuple[np.ndarray, np.ndarray]] = []  # features and labels that no round has had
    for index, part in enumerate(parts, start=first_part):
        batch = put_batch(part, mesh, part_size)
        views = _augmented(jax.random.fold_in(key, index), batch["image"], encoder.image_size)
        features, labels = on_all_hosts((placed.encode(views), batch["label"]))
        pending.append((features[used:], labels[used:]))
        if encoded is not None:
            encoded((index + 1) * part_size)
        used = 0
        while sum(len(labels) for _, labels in pending) >= batch_size:
            features, labels = map(np.concatenate, zip(*pending, strict=True))
            yield Round(features[:batch_size], labels[:batch_size], np.arange(batch_size, dtype=np.int32)[None])
            pending = [(features[batch_size:], labels[batch_size:])]


def part_size_of(encoder: Encoder, batch_size: int) -> int:
    """Images that are read and encoded at once, as many on each device. Their augmentation depends on it."""
    devices = make_mesh().size
    return -(-min(encoder.batch_size, batch_size) // devices) * devices


@partial(jax.jit, static_argnums=2)
def _augmented(
    key: PRNGKeyArray, images: UInt8[Array, "batch *views height width 3"], image_size: int
) -> Float[Array, "batch size size 3"]:
    return normalize(augment(key, images, AUGMENTATION, image_size=image_size, views=1)[0])
