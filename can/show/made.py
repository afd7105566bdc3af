"""What a method makes of images: what it sees of them, what it fills in, the noise that it predicts."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from can import keys
from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.augment.simclr import normalize
from can.errors import ConfigError
from can.methods import Method
from can.methods.shown import Picture
from can.views import patchify, unpatchify

HIDDEN = 205  # grey, of 255
NOISE_RANGE = 2.5  # levels of noise that full colours stand for; 0 is grey

Pixels = UInt8[np.ndarray, "n size size 3"]


def made_of(method: Method, images: Pixels, *, seed: int = 0) -> dict[str, Pixels]:
    """Pictures of each image by title, the image first; deterministic, masks and noise depend on the seed alone.

    Raises ConfigError for a method that has nothing to show: it compares features.
    """
    patch_size = method.config.patch_size
    patches = patchify(normalize(jnp.asarray(images, jnp.float32) / 255), patch_size)
    pictures = method.shows(patches, keys.key(seed, "show"))
    if not pictures:
        raise ConfigError(
            f"{method.name} neither masks images nor fills them in: pass --attention, --neighbours or --map"
        )
    return {"image": images} | {picture.title: _pixels(picture, patch_size) for picture in pictures}


def _pixels(picture: Picture, patch_size: int) -> Pixels:
    seen = jnp.where(picture.hidden[:, :, None], jnp.nan, picture.patches)
    whole = np.asarray(unpatchify(seen, patch_size), float)
    shares = (whole / NOISE_RANGE + 1) / 2 if picture.is_noise else whole * IMAGENET_STD + np.array(IMAGENET_MEAN)
    return np.where(np.isnan(whole), HIDDEN, np.rint(255 * np.clip(shares, 0, 1))).astype(np.uint8)
