"""Crops made on the host out of encoded photos, in torchvision's geometry; decoded once for all views."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from can.data.decode import decode_rgb, image_size

Pixels = UInt8[np.ndarray, "height width 3"]
Square = UInt8[np.ndarray, "size size 3"]

_TRIES = 10
_ASPECT = (3 / 4, 4 / 3)  # width / height
# How many times as large as wanted a crop may be, at most, for the first and the second way of `resized_crop`.
_ENLARGED, _SUPERSAMPLED = 1.15, 1.6


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


def sample_box(height: int, width: int, area: tuple[float, float], rng: np.random.Generator) -> Box:
    """The box of a random-resized crop (Szegedy et al., 2015), with torchvision's ten tries and its fallback.

    Args:
      height: of the image, pixels.
      width: of the image, pixels.
      area: smallest and largest share of the image's area; drawn uniformly.
      rng: the log of the aspect ratio is uniform in log 3/4 .. log 4/3, the place uniform.
    """
    for _ in range(_TRIES):
        target = height * width * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        box_width, box_height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(rng.integers(0, height - box_height + 1))
            left = int(rng.integers(0, width - box_width + 1))
            return Box(top, left, box_height, box_width)
    aspect = min(max(width / height, _ASPECT[0]), _ASPECT[1])
    box_width, box_height = min(width, round(height * aspect)), min(height, round(width / aspect))
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def random_resized_crops(
    data: bytes, what: str, views: int, size: int, area: tuple[float, float], rng: np.random.Generator
) -> UInt8[np.ndarray, "views size size 3"]:
    """`views` independent random-resized crops of one encoded image, which is decoded once.

    The image is decoded at a half, quarter or eighth of its size when every crop still has at least `size` pixels a
    side there; `resized_crop` makes the rest.

    Raises:
      DataError: the image is damaged; `what` names it.
    """
    height, width = image_size(data, what)
    boxes = [sample_box(height, width, area, rng) for _ in range(views)]
    smallest = min(min(box.height, box.width) for box in boxes)
    reduction = next((factor for factor in (8, 4, 2) if smallest >= factor * size), 1)
    image = decode_rgb(data, what, reduction)
    # What was decoded tells the scale: reduced sizes are rounded up, and formats other than JPEG may not reduce.
    vertical, horizontal = image.shape[0] / height, image.shape[1] / width
    crops = np.empty((views, size, size, 3), np.uint8)
    for crop, box in zip(crops, boxes, strict=True):
        top, left = int(box.top * vertical), int(box.left * horizontal)
        bottom = max(top + 1, round((box.top + box.height) * vertical))
        right = max(left + 1, round((box.left + box.width) * horizontal))
        part = image[top:bottom, left:right]
        crop[:] = resized_crop(part, size)
    return crops


def resized_crop(crop: Pixels, size: int) -> Square:
    """A random crop at `size` x `size`, enlarged bicubically or shrunk with little aliasing.

    Three ways come near Pillow's antialiased bicubic filter; a crop takes one by how much larger than `size` it is:

    - hardly: bicubically, without smoothing. This is as near as averaged areas are.
    - moderately, as most crops of ImageNet's photos: bicubically to twice the size, then by means of 2 x 2 pixels. This
      is nearer than averaged areas, and twice as fast.
    - more: by averaged areas.
    """
    factor = max(crop.shape[:2]) / size
    if factor <= _ENLARGED:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
    if factor <= _SUPERSAMPLED:
        crop = cv2.resize(crop, (2 * size, 2 * size), interpolation=cv2.INTER_CUBIC)
    return resized(crop, size)


def resized(image: Pixels, size: int) -> Square:
    """The whole image at `size` x `size`: shrunk by averaging areas or enlarged bicubically."""
    shrinks = min(image.shape[:2]) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def center_crop(image: Pixels, size: int, resize: int) -> Square:
    """The evaluation view: shorter side to `resize`, bicubically and antialiased, then the central `size` square.

    Pillow's filter, since published accuracies were measured with it.
    """
    height, width = image.shape[:2]
    scale = resize / min(height, width)
    new_height, new_width = max(resize, int(height * scale)), max(resize, int(width * scale))
    if (new_height, new_width) != (height, width):
        image = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BICUBIC))
    top, left = round((new_height - size) / 2), round((new_width - size) / 2)
    return image[top : top + size, left : left + size]
