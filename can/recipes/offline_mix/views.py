"""Views of the sources' pictures at the size of the mix: crops, backgrounds, and what is too plain to keep."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIZE = 32  # pixels
Pixels = UInt8[np.ndarray, "height width 3"]
Cutout = UInt8[np.ndarray, "height width 4"]
View = UInt8[np.ndarray, "size size 3"]
Pyramid = list[UInt8[np.ndarray, "_ _ 3"]]  # each level has its own height and width

# Below these (of 255) a view shows nothing but one colour, or a soft gradient such as a blurred background.
_LEAST_DEVIATION = 8.0
_LEAST_STEP = 2.5  # mean difference of neighbouring pixels
_TRIES = 30
_CROP_SIDE = (SIZE, 800)  # pixels of a photo


def is_plain(view: View) -> bool:
    """Whether the view is nearly constant."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(np.float32)
    step = (np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()) / 2
    return bool(grey.std() < _LEAST_DEVIATION or step < _LEAST_STEP)


def clipart_view(photos: Sequence[Pyramid], picture: Cutout, rng: np.random.Generator) -> View | None:
    """The picture, or 60 % and more of it, on a random background; None if every try is nearly constant.

    Args:
      photos: the pyramids of photos that some backgrounds are cropped from.
      picture: RGBA multiplied by alpha.
      rng: where all randomness comes from.
    """
    height, width = picture.shape[:2]
    longer = max(height, width)
    canvas = np.zeros((2 * longer, 2 * longer, 4), np.uint8)
    top, left = longer - height // 2, longer - width // 2
    canvas[top : top + height, left : left + width] = picture
    for _ in range(_TRIES):
        side = max(4, round(longer * rng.uniform(0.6, 1.3)))
        # A window smaller than the picture stays inside it, a larger one keeps it inside.
        slack = abs(longer - side) / 2
        y, x = (round(longer - side / 2 + rng.uniform(-slack, slack)) for _ in range(2))
        window = cv2.resize(canvas[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        alpha = window[..., 3:].astype(np.float32) / 255
        view = window[..., :3] + (1 - alpha) * _background(photos, rng)
        view = np.clip(np.round(view), 0, 255).astype(np.uint8)
        if not is_plain(view) and alpha.mean() > 0.02:
            return view
    return None


def photo_view(photo: Pyramid, rng: np.random.Generator) -> View | None:
    """A square crop of a photo's pyramid at a random scale; None if every try is nearly constant."""
    for _ in range(_TRIES):
        view = _square(photo, rng)
        if not is_plain(view):
            return view
    return None


def pyramid(photo: Pixels) -> Pyramid:
    """The photo and its halvings, so that no crop has to be shrunk from much more pixels than it shows."""
    levels = [photo]
    while min(levels[-1].shape[:2]) >= 4 * SIZE:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels


def _square(photo: Pyramid, rng: np.random.Generator) -> View:
    low, high = np.log(_CROP_SIDE[0]), np.log(min(_CROP_SIDE[1], *photo[0].shape[:2]))
    side = np.exp(rng.uniform(low, high))  # every scale as often as any other
    halvings = min(int(np.log2(side / SIZE)), len(photo) - 1)
    level, side = photo[halvings], int(side / 2**halvings)
    top, left = (int(rng.integers(0, length - side + 1)) for length in level.shape[:2])
    return cv2.resize(level[top : top + side, left : left + side], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _background(photos: Sequence[Pyramid], rng: np.random.Generator) -> Float[np.ndarray, "size size 3"]:
    """White (as most of the web), one colour, a gradient of two colours, or a piece of a photo."""
    kind = rng.choice(4, p=[0.2, 0.25, 0.25, 0.3])
    if kind == 0:
        return np.full((SIZE, SIZE, 3), 255, np.float32)
    if kind == 3:
        return _square(photos[int(rng.integers(len(photos)))], rng).astype(np.float32)
    first, second = rng.uniform(0, 255, (2, 3))
    if kind == 1:
        return np.broadcast_to(first.astype(np.float32), (SIZE, SIZE, 3))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-0.5 : 0.5 : SIZE * 1j, -0.5 : 0.5 : SIZE * 1j]
    share = (0.5 + 0.7 * (np.cos(angle) * x + np.sin(angle) * y))[..., None]
    return (first * (1 - share) + second * share).clip(0, 255).astype(np.float32)
