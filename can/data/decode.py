"""Bytes of an image file to pixels, with damage reported as an error that names the image."""

from __future__ import annotations

import io

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from can.data.image_set import EncodedImages, Images, Labels
from can.errors import DataError

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND"
# EXIF rotation is ignored, as in TFDS and torchvision, whose numbers ours are compared with.
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_MOST_PIXELS = 1 << 30  # OpenCV's limit: a damaged header may promise any number


def decode_rgb(data: bytes, what: str, reduction: int = 1) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of a JPEG, PNG or other file that OpenCV reads; grey becomes three equal channels.

    Args:
      data: the file's bytes.
      what: where they came from, for the error.
      reduction: a JPEG comes out at a half, a quarter or an eighth of its size (2, 4, 8; rounded up), which takes less
        time: libjpeg leaves high frequencies out. Other files, and unusual JPEGs (CMYK), have their full size.

    Raises:
      DataError: the file is cut short or damaged.
    """
    if is_truncated(data):
        raise DataError(f"{what} is cut short ({len(data)} bytes): fetch it again or remove it")
    image = None
    try:
        if size := _jpeg_size(data):  # the same pixels as OpenCV's, a little sooner
            # At least so many pixels; 0 asks for the full size (of a tiny image 7/8, rounded up, are as many pixels).
            height, width = (-(-pixels // reduction) if reduction > 1 else 0 for pixels in size)
            exact = dict(fastdct=False, fastupsample=False, strict=False)
            image = simplejpeg.decode_jpeg(data, min_height=height, min_width=width, **exact)
        else:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB)
    except (cv2.error, ValueError):  # for no bytes at all, or a header that promises too many pixels
        pass
    if image is None:
        raise undecodable(data, what)
    return image


def image_size(data: bytes, what: str) -> tuple[int, int]:
    """Height and width in pixels, from the header alone. Raises DataError if there is none."""
    if size := _jpeg_size(data):
        return size
    try:
        with Image.open(io.BytesIO(data)) as header:
            return header.height, header.width
    except (UnidentifiedImageError, OSError) as error:
        raise undecodable(data, what) from error


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Of a JPEG that simplejpeg turns into RGB; None for all other files, which are left to OpenCV and Pillow."""
    if not data.startswith(_JPEG_START):
        return None
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):  # KeyError: a subsampling that it has no name for
        return None
    if colorspace in ("CMYK", "YCCK") or height * width > _MOST_PIXELS:
        return None
    return height, width


def undecodable(data: bytes, what: str) -> DataError:
    """The error for bytes that are no image, or a damaged one."""
    return DataError(f"{what} is not an image that can be decoded ({len(data)} bytes): replace or remove it")


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker; libjpeg would fill the missing part with grey and say nothing."""
    if data.startswith(_JPEG_START):
        return data.rfind(_JPEG_END) < len(data) // 2  # an embedded thumbnail has an end marker too, near the start
    return data.startswith(_PNG_START) and _PNG_END not in data[-1024:]


class UnequalSizes(DataError):
    """The images of a set do not all have one size, so that they cannot be one array."""


def decode_all(image_set: EncodedImages) -> tuple[Images, Labels | None]:
    """Every image of a small set, which must all have one size, and the labels.

    Raises:
      DataError: an image is damaged.
      UnequalSizes: an image has another size than the first.
    """
    images: np.ndarray | None = None
    labels = np.zeros(len(image_set), np.int32)
    for index in range(len(image_set)):
        data, label = image_set[index]
        image = decode_rgb(data, image_set.describe(index))
        if images is None:
            images = np.empty((len(image_set), *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            raise UnequalSizes(
                f"{image_set.describe(index)} is {image.shape[1]}x{image.shape[0]} pixels, "
                f"the first image of {image_set.name} {images.shape[2]}x{images.shape[1]}"
            )
        images[index] = image
        labels[index] = 0 if label is None else label
    if images is None:
        raise DataError(f"{image_set.name} {image_set.split} has no images")
    return images, None if image_set.num_classes is None else labels
