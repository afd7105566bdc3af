"""What a trained method's losses are on held-out images, under the same views and masks for every method (Table 4).

Training losses cannot be compared: each method draws its own views, masks and noise, and MAE has other augmentations.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from can import keys
from can.augment import augment as make_views
from can.augment import normalize
from can.config import AugmentConfig
from can.data import ImageSet, eval_batches
from can.errors import DataError
from can.methods import Method
from can.methods.method import Metrics, Shown, rows_of
from can.views import num_visible, patchify, random_order, shuffle

Keys = tuple[PRNGKeyArray, PRNGKeyArray, PRNGKeyArray]  # of augmentation, masks, noise


def evaluate(
    method: Method,
    images: ImageSet,
    *,
    augment: AugmentConfig,
    mask_rate: float,
    batch_size: int,
    seed: int,
    temperature: float = 0.1,
) -> dict[str, float]:
    """The losses of two views of each image, as far as the method has what they need.

    Deterministic. Two methods that are given equal arguments see the same views with the same patches masked, whatever
    they were trained on. Batches are those of the set's order; the images after the last whole batch are left out, so
    that every anchor has as many negatives.

    Args:
      method: with its trained weights (`can.trained.load_method`); stays as it is.
      images: held out from training.
      augment: how both views are made.
      mask_rate: the share of patches that the encoder is not shown.
      batch_size: images a batch, which have each other for negatives and share batch statistics.
      seed: of views, masks and noise.
      temperature: of Eq. 1.

    Returns:
      `n`, the number of images, and means over them, views included:
      `infonce`: Eq. 1 in nats, as the mean over anchors, of clean patches; if there is a projection head.
      `reconstruct`: Eq. 2 as the mean over masked pixels, not normalised, from clean patches; if there is a decoder of
        such pixels and something is masked. A decoder that is told the noise level is told 0.
      `denoise`: Eq. 3 as the mean over visible pixels, with the method's own noise; if it was trained for that.

    Raises:
      ConfigError: the rate masks everything.
      DataError: there are fewer than two images.
    """
    size = min(batch_size, len(images))
    if size < 2:
        raise DataError(f"{images.name} {images.split}: the final losses need 2 images or more a batch, not {size}")
    visible = num_visible(method.config.num_patches, mask_rate)
    graphdef, state = nnx.split(method)
    draws = (
        keys.key(seed, "final losses augmentation"),
        keys.key(seed, "final losses masks"),
        keys.key(seed, "final losses noise"),
    )
    found = []
    for index, batch in enumerate(eval_batches(images, batch_size=size, image_size=method.config.image_size)):
        if len(batch["image"]) == size:
            drawn = jax.tree.map(lambda key, index=index: jax.random.fold_in(key, index), draws)
            found.append(_losses(graphdef, augment, visible, temperature, state, batch["image"], drawn))
    values: list[dict[str, Array]] = jax.device_get(found)
    means = {name: float(np.mean([losses[name] for losses in values], dtype=np.float64)) for name in values[0]}
    return means | {"n": size * len(values)}


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _losses(
    graphdef: nnx.GraphDef,
    augment: AugmentConfig,
    visible: int,
    temperature: float,
    state: nnx.State,
    images: UInt8[Array, "batch size size 3"],
    drawn: Keys,
) -> Metrics:
    method = nnx.merge(graphdef, state, copy=True)
    augment_key, mask_key, noise_key = drawn
    patches, order = masked_views(images, augment, method.config.patch_size, augment_key, mask_key)
    return method.comparable_losses(Shown(shuffle(patches, order), order, visible, temperature, noise_key))


def masked_views(
    images: UInt8[Array, "batch size size 3"],
    augment: AugmentConfig,
    patch_size: int,
    augment_key: PRNGKeyArray,
    mask_key: PRNGKeyArray,
) -> tuple[Float[Array, "rows tokens patch_dim"], Int[Array, "rows tokens"]]:
    """Patches of two views of each image, view by view, and an order of them whose first ones are visible."""
    views = normalize(make_views(augment_key, images, augment, image_size=images.shape[1], views=2))
    patches = patchify(rows_of(views), patch_size)
    return patches, random_order(mask_key, *patches.shape[:2])
