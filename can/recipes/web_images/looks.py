"""What one looks at in an image of the web, and why it is left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import cv2

from can.data.decode import decode_rgb
from can.errors import ConfigError, DataError
from can.recipes.perceptual_hash import perceptual_hash

# What is called as images are and is none: a hidden file, one that belongs to an image, a row without bytes.
NO_IMAGES = HIDDEN, ANNOTATION, NO_BYTES = "hidden file", "annotation", "no bytes"
# Why an image is left out: the first of these that holds.
REASONS = (
    *NO_IMAGES,
    *("damaged", "too small", "too long", "flat", "excluded"),
    *("duplicate", "near duplicate"),  # of an image that is before it
)
_JPEG_QUALITY = 95  # of images that are scaled down


class Look(NamedTuple):
    """An image, without its pixels.

    Attributes:
      name: in its shard.
      height: in pixels; 0 if it cannot be decoded.
      width: likewise.
      contrast: the largest standard deviation of a channel, of 255.
      pixels: sha256 of the size and the decoded pixels, shortened to 128 bits, in hexadecimal; what it is instead, one
        of NO_IMAGES, if it is no image.
      likeness: the perceptual hash.
    """

    name: str
    height: int
    width: int
    contrast: float
    pixels: str
    likeness: int


@dataclass(frozen=True)
class Limits:
    """Which images are kept; the defaults of sizes are DataComp's (Gadre et al., 2023).

    Attributes:
      min_side: pixels that the shorter side has at least.
      max_aspect: how many times as long as the shorter side the longer one may be.
      min_contrast: of 255; see `Look`. An image of one colour has none.
      max_side: pixels that the shorter side has at most: larger images are scaled down and become JPEGs. 0: none is.
    """

    min_side: int = 200
    max_aspect: float = 3.0
    min_contrast: float = 2.0
    max_side: int = 0

    def __post_init__(self) -> None:
        if self.min_side < 1:
            raise ConfigError(f"min_side must be 1 pixel or more, not {self.min_side}")
        if not self.max_aspect >= 1:
            raise ConfigError(f"max_aspect must be 1 or more, not {self.max_aspect:g}")
        if not self.min_contrast >= 0:
            raise ConfigError(f"min_contrast must be 0 or more, not {self.min_contrast:g}")
        if self.max_side and self.max_side < self.min_side:
            raise ConfigError(f"max_side must be 0 or at least min_side {self.min_side}, not {self.max_side}")


def look_at(name: str, data: bytes | str) -> Look:
    """Decodes an image; one that is damaged, or has more pixels than are ever decoded, has a height of 0.

    `data`: its bytes, or one of NO_IMAGES.
    """
    if isinstance(data, str):
        return Look(name, 0, 0, 0.0, data, 0)
    try:
        pixels = decode_rgb(data, name)
    except DataError:
        return Look(name, 0, 0, 0.0, "", 0)
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{height} {width} ".encode())
    digest.update(pixels.tobytes())
    contrast = float(cv2.meanStdDev(pixels)[1].max())
    return Look(name, height, width, contrast, digest.hexdigest()[:32], perceptual_hash(pixels))


def reason_to_drop(look: Look, limits: Limits, excluded: frozenset[int]) -> str | None:
    """The first of REASONS that the image gives by itself; None if it may be kept.

    Args:
      look: at the image.
      limits: what is kept.
      excluded: perceptual hashes of images that must not be in the set.
    """
    shorter, longer = sorted((look.height, look.width))
    if not shorter:
        return look.pixels or "damaged"
    if shorter < limits.min_side:
        return "too small"
    if longer > limits.max_aspect * shorter:
        return "too long"
    if look.contrast < limits.min_contrast:
        return "flat"
    return "excluded" if look.likeness in excluded else None


def scaled_down(data: bytes, max_side: int, name: str) -> bytes:
    """The image with a shorter side of `max_side` pixels, as a JPEG; as it is if it is no larger or `max_side` is 0."""
    if not max_side:
        return data
    pixels = decode_rgb(data, name)
    shorter = min(pixels.shape[:2])
    if shorter <= max_side:
        return data
    height, width = (round(side * max_side / shorter) for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
