"""`background`: the things turned by any small angle and set on pieces of photographs."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from can.data.image_set import Images
from can.errors import DataError
from can.offline_data.offline_mix.views import Pyramid, photo_view

MAX_ANGLE = 40.0  # degrees
SCALE = (0.7, 0.95)
MAX_DRAWS = 1000
OPAQUE_FROM = 40  # of 255: darker pixels of a set on black let the photo through in proportion


def on_photos(images: Images, photos: Sequence[Pyramid], seed: int, *, on_black: bool) -> Images:
    """Each image shrunk, rotated and composited on a random crop of a random photo.

    Args:
      images: of one size.
      photos: the pyramids that the backgrounds are cropped from.
      seed: of angles, sizes, photos and crops.
      on_black: whether the images show things on black, as Fashion-MNIST's do: then only the thing covers the photo;
        else the whole picture does, like a print lying on it.
    """
    side = images.shape[1]
    rng = np.random.default_rng(seed)
    centre = ((side - 1) / 2, (side - 1) / 2)
    out = np.empty_like(images)
    for index, image in enumerate(images):
        alpha = np.clip(image.max(-1) / OPAQUE_FROM, 0, 1) if on_black else np.ones((side, side))
        if on_black:  # dark parts inside the thing stay: closing fills the holes of its outline
            alpha = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((5, 5)))
        layers = np.dstack([image * alpha[..., None], alpha]).astype(np.float32)
        matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-MAX_ANGLE, MAX_ANGLE), rng.uniform(*SCALE))
        turned = cv2.warpAffine(layers, matrix, (side, side), flags=cv2.INTER_LINEAR)
        photo = _crop(photos, rng, side)
        out[index] = np.clip(np.round(turned[..., :3] + (1 - turned[..., 3:]) * photo), 0, 255).astype(np.uint8)
    return out


def _crop(photos: Sequence[Pyramid], rng: np.random.Generator, side: int) -> np.ndarray:
    for _ in range(MAX_DRAWS):  # a crop that shows nothing is None
        view = photo_view(photos[int(rng.integers(len(photos)))], rng)
        if view is not None:
            return cv2.resize(view, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    raise DataError(f"{MAX_DRAWS} crops of the {len(photos)} photographs show nothing: they are too plain")
