"""What CAN makes of held-out images: masked and noisy views, reconstructions, predicted noise (Figures 2 and 3).

Beside the pictures of a few images there are numbers over many: how well patches are reconstructed and noise is
predicted at noise levels within and beyond those of training.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int, Int8, UInt8

from can import keys
from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.config import AugmentConfig
from can.data import ImageSet, eval_batches
from can.errors import ConfigError, DataError
from can.evals.final_losses import masked_views
from can.methods.can import CAN
from can.system.files import write_atomic
from can.views import shuffle, unpatchify

NOISE_RANGE = 4.0  # standard deviations that the stored noise reaches from 0


class Pictures(NamedTuple):
    """A few images, small enough to be kept: pixels as bytes, noise in steps of NOISE_RANGE / 127 of its own level."""

    images: UInt8[np.ndarray, "shown size size 3"]
    views: UInt8[np.ndarray, "2 shown size size 3"]
    noisy: UInt8[np.ndarray, "2 shown size size 3"]  # with noise of sigma_max; the encoder sees what `masked` leaves
    reconstructed: UInt8[np.ndarray, "2 shown size size 3"]  # masked patches as predicted, the others of the view
    masked: Bool[np.ndarray, "2 shown tokens"]
    noise: Int8[np.ndarray, "size size 3"]  # on the first view of the first image, of every level; 0 where it is masked
    shares: Float32[np.ndarray, " levels"]  # noise levels of the next, as shares of sigma_max
    predicted: Int8[np.ndarray, "levels size size 3"]

    def write(self, path: Path) -> None:
        """Writes all of it, the same to the byte for the same pictures."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._asdict())
        write_atomic(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Pictures:
        """The inverse of `write`. Raises DataError if there is no such file, or it is damaged."""
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                return cls(**{name: arrays[name] for name in cls._fields})
        except Exception as error:  # a damaged zip has many ways to fail
            raise DataError(f"{path} is damaged or missing ({error}): make it with --force=pictures") from error


def evaluate(
    method: CAN,
    images: ImageSet,
    *,
    augment: AugmentConfig,
    shares: Sequence[float],
    count: int,
    shown: int,
    seed: int,
) -> tuple[dict[str, float], Pictures]:
    """Numbers over the first `count` images, two views each, and the pictures of the first `shown` of them.

    Deterministic: views, masks and the noise that is scaled to each level depend on the seed alone.

    Args:
      method: with its trained weights; stays as it is.
      images: held out from training; labels are not read.
      augment: how both views are made.
      shares: noise levels, as shares of the method's sigma_max; the encoder is given such noise, and the decoder its
        level.
      count: images that are measured; all of them if there are fewer.
      shown: images of which there are pictures.
      seed: of views, masks and noise.

    Returns:
      `n`, the number of images, and for each share `sigma<share>/reconstruct`, Eq. 2 as the mean over masked pixels, of
      clean targets; and for those above 0 `sigma<share>/noise_correlation`, Pearson's of true and predicted noise over
      all visible pixels.

    Raises:
      ConfigError: the method predicts no noise, masks nothing, or reconstructs pixels that are normalised by patch.
    """
    settings = method.settings
    if not settings.denoises or method.num_visible == method.config.num_patches or settings.norm_pix:
        raise ConfigError("pictures need noise, its loss, a mask and a reconstruction of pixels: this run lacks one")
    size = method.config.image_size
    batch = next(iter(eval_batches(images, batch_size=min(count, len(images)), image_size=size)))["image"]
    augment_key, mask_key = keys.key(seed, "pictures views"), keys.key(seed, "pictures masks")
    patches, order = masked_views(jnp.asarray(batch), augment, method.config.patch_size, augment_key, mask_key)
    graphdef, state = nnx.split(method)
    found: dict[str, float] = {}
    outputs: dict[float, np.ndarray] = {}  # by share, in the order of the patches
    epsilon = jax.random.normal(keys.key(seed, "pictures noise"), patches[:, : method.num_visible].shape)
    shuffled = np.asarray(shuffle(patches, order))
    for share in shares:
        output = np.asarray(_decoded(graphdef, state, patches, order, epsilon, share * settings.sigma_max))
        outputs[share] = output
        masked = slice(method.num_visible, None)
        squares = np.square(shuffled[:, masked].astype(float) - output[:, masked])
        found[f"sigma{share:g}/reconstruct"] = float(squares.mean())
        if share:
            predicted = output[:, : method.num_visible]
            pair = np.corrcoef(np.asarray(epsilon, float).ravel(), predicted.astype(float).ravel())
            found[f"sigma{share:g}/noise_correlation"] = float(pair[0, 1])
    pictures = _pictures(method, batch, shuffled, np.asarray(order), np.asarray(epsilon), outputs, shown)
    return found | {"n": len(batch)}, pictures


@partial(jax.jit, static_argnums=0)
def _decoded(
    graphdef: nnx.GraphDef,
    state: nnx.State,
    patches: Float[Array, "rows tokens patch_dim"],
    order: Int[Array, "rows tokens"],
    epsilon: Float[Array, "rows visible patch_dim"],
    sigma: Float[Array, ""] | float,
) -> Float[Array, "rows tokens patch_dim"]:
    """The decoder's output, visible patches first, where the encoder is shown noise of level `sigma`."""
    method = nnx.merge(graphdef, state, copy=True)
    noisy = shuffle(patches, order[:, : method.num_visible]) + sigma * epsilon
    return method.predict(noisy, order, jnp.full(len(patches), sigma))[1]


def _pictures(
    method: CAN,
    images: UInt8[np.ndarray, "n size size 3"],
    shuffled: Float[np.ndarray, "rows tokens patch_dim"],
    order: Int[np.ndarray, "rows tokens"],
    epsilon: Float[np.ndarray, "rows visible patch_dim"],
    outputs: dict[float, np.ndarray],
    shown: int,
) -> Pictures:
    visible, n = method.num_visible, len(images)
    levels = [share for share in outputs if share]
    usual = min(levels, key=lambda share: abs(share - 1))  # the level of training's loudest noise, or next to it
    rows = np.arange(2 * n).reshape(2, n)[:, :shown]  # of the first images, view by view

    def image(patches: np.ndarray, row: np.ndarray) -> np.ndarray:
        in_place = np.take_along_axis(patches[row], np.argsort(order[row], axis=1)[:, :, None], axis=1)
        return np.asarray(unpatchify(jnp.asarray(in_place), method.config.patch_size))

    def both(patches: np.ndarray) -> np.ndarray:
        return np.stack([_bytes(image(patches, row)) for row in rows])

    def noise(values: np.ndarray) -> np.ndarray:
        masked = np.zeros((1, shuffled.shape[1] - visible, shuffled.shape[2]))
        scaled = np.concatenate([values[:1], masked], axis=1) / NOISE_RANGE * 127
        return np.clip(np.rint(image(scaled, np.array([0]))[0]), -127, 127).astype(np.int8)

    loud = shuffled.copy()
    loud[:, :visible] += usual * method.settings.sigma_max * epsilon
    filled = np.concatenate([shuffled[:, :visible], outputs[usual][:, visible:]], axis=1)
    scaled = method.settings.denoise_target == "sigma_eps"  # as Eq. 3 has it; else the prediction is of e alone
    in_sigmas = {
        share: outputs[share][:, :visible] / (share * method.settings.sigma_max if scaled else 1) for share in levels
    }
    hidden = np.argsort(order, axis=1) >= visible
    return Pictures(
        images=images[:shown],
        views=both(shuffled),
        noisy=both(loud),
        reconstructed=both(filled),
        masked=np.stack([hidden[row] for row in rows]),
        noise=noise(epsilon),
        shares=np.array(levels, np.float32),
        predicted=np.stack([noise(in_sigmas[share]) for share in levels]),
    )


def _bytes(normalised: Float[np.ndarray, "*batch 3"]) -> UInt8[np.ndarray, "*batch 3"]:
    """Pixels that can be shown, of normalised ones."""
    pixels = normalised * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def visible_of(pictures: Pictures, patch_size: int) -> Bool[np.ndarray, "2 shown size size"]:
    """Which pixels of the views the encoder sees."""
    grid = pictures.images.shape[1] // patch_size
    by_patch = ~pictures.masked.reshape(*pictures.masked.shape[:2], grid, grid)
    return by_patch.repeat(patch_size, axis=2).repeat(patch_size, axis=3)
