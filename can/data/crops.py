"""Crops made on the host out of encoded photos, in torchvision's geometry; decoded once for all views."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from can.data.decode import RGB, decode_rgb, undecodable

Pixels = UInt8[np.ndarray, "height width 3"]
Square = UInt8[np.ndarray, "size size 3"]

_TRIES = 10
_ASPECT = (3 / 4, 4 / 3)  # width / height
# libjpeg decodes at 1/2, 1/4, 1/8 of the size for a fraction of the time, by dropping high frequencies.
# OpenCV's "grayscale" constants are the scale alone; together with RGB they decode in colour.
_REDUCED = {
    8: RGB | cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: RGB | cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: RGB | cv2.IMREAD_REDUCED_GRAYSCALE_2,
}


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
    side there. Crops are shrunk by averaging areas, which does not alias, and enlarged bicubically.

    Raises:
      DataError: the image is damaged; `what` names it.
    """
    height, width = _image_size(data, what)
    boxes = [sample_box(height, width, area, rng) for _ in range(views)]
    smallest = min(min(box.height, box.width) for box in boxes)
    factor = next((factor for factor in _REDUCED if smallest >= factor * size), 1)
    image = decode_rgb(data, what, _REDUCED.get(factor, RGB))
    # What was decoded tells the scale: reduced sizes are rounded up, and formats other than JPEG may not reduce.
    vertical, horizontal = image.shape[0] / height, image.shape[1] / width
    crops = np.empty((views, size, size, 3), np.uint8)
    for crop, box in zip(crops, boxes, strict=True):
        top, left = int(box.top * vertical), int(box.left * horizontal)
        bottom = max(top + 1, round((box.top + box.height) * vertical))
        right = max(left + 1, round((box.left + box.width) * horizontal))
        part = image[top:bottom, left:right]
        crop[:] = resized(part, size)
    return crops


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


def _image_size(data: bytes, what: str) -> tuple[int, int]:
    """Height and width from the header alone."""
    try:
        with Image.open(io.BytesIO(data)) as header:
            return header.height, header.width
    except (UnidentifiedImageError, OSError) as error:
        raise undecodable(data, what) from error
