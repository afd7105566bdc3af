"""Bytes of an image file to pixels, with damage reported as an error that names the image."""

from __future__ import annotations

import contextlib
import io
import warnings

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from can.data.cut_short import JPEG_START, PNG_START, jpeg_size, jpeg_with_end, png_with_end
from can.data.image_set import EncodedImages, Images, Labels
from can.errors import DataError

MOST_PIXELS = 1 << 26  # of an image: 200 MB decoded. A small file may promise any number.
# EXIF rotation is ignored, as in TFDS and torchvision, whose numbers ours are compared with.
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# What libjpeg says where bytes are missing: at the end of the file, and before an end marker.
_NO_END, _CUT = "Premature end of JPEG file", "premature end of data segment"
_EIGHT_BITS = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr")  # Pillow's modes

# The libraries' own words about a damaged file would stand before our line, without the file's name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
warnings.filterwarnings("ignore", module=r"PIL\.")


class _CutShort(Exception):
    """Pixels are missing."""


def decode_rgb(data: bytes, what: str, reduction: int = 1) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of a JPEG, PNG or other file that OpenCV or Pillow reads; grey becomes three equal channels.

    Args:
      data: the file's bytes.
      what: where they came from, for the error.
      reduction: a JPEG comes out at a half, a quarter or an eighth of its size (2, 4, 8; rounded up), which takes less
        time: libjpeg leaves high frequencies out. Other files, and unusual JPEGs (CMYK), have their full size.

    Raises:
      DataError: the file is cut short or damaged, or has more than `MOST_PIXELS`.
    """
    image = None
    try:
        if size := _jpeg_size(data):  # the same pixels as OpenCV's, a little sooner
            _check_pixels(*size, what)
            # At least so many pixels; 0 asks for the full size (of a tiny image 7/8, rounded up, are as many pixels).
            height, width = (-(-pixels // reduction) if reduction > 1 else 0 for pixels in size)
            image = _decode_jpeg(data, min_height=height, min_width=width)
        else:
            image_size(data, what)  # checks it
            image = _decode_other(data)
    except _CutShort:
        raise _cut_short(data, what) from None
    except (cv2.error, ValueError):  # for no bytes at all, or a header that promises what is not there
        pass
    if image is None:
        raise undecodable(data, what)
    return image


def image_size(data: bytes, what: str) -> tuple[int, int]:
    """Height and width in pixels, from the header alone. Raises DataError if there is none, or for too many pixels."""
    if (size := _jpeg_size(data)) is None:
        size = _png_size(data) or _header_size(data, what)
    return _check_pixels(*size, what)


def undecodable(data: bytes, what: str) -> DataError:
    """The error for bytes that are no image, or a damaged one."""
    if (data.startswith(JPEG_START) and jpeg_with_end(data) is None) or (
        data.startswith(PNG_START) and png_with_end(data) is None
    ):
        return _cut_short(data, what)
    return DataError(f"{what} is not an image that can be decoded ({len(data)} bytes): replace or remove it")


def _cut_short(data: bytes, what: str) -> DataError:
    return DataError(f"{what} is cut short ({len(data)} bytes): fetch it again or remove it")


def _decode_jpeg(data: bytes, colorspace: str = "RGB", **size: int) -> np.ndarray:
    """Raises _CutShort if pixels are missing, ValueError for other damage that leaves no image."""
    exact = dict(colorspace=colorspace, fastdct=False, fastupsample=False, **size)
    try:
        return simplejpeg.decode_jpeg(data, strict=True, **exact)
    except ValueError as error:
        complaint = str(error)
    if _CUT in complaint:
        raise _CutShort
    if (whole := jpeg_with_end(data)) is None:
        raise _CutShort
    if _NO_END not in complaint:  # what every other reader passes over, such as bytes between segments
        return simplejpeg.decode_jpeg(data, strict=False, **exact)
    try:
        return simplejpeg.decode_jpeg(whole, strict=True, **exact)
    except ValueError as error:
        if _CUT in str(error):
            raise _CutShort from error
        return simplejpeg.decode_jpeg(whole, strict=False, **exact)


def _decode_other(data: bytes) -> np.ndarray | None:
    """Raises _CutShort if pixels are missing."""
    if data.startswith(JPEG_START):
        data = _unusual_jpeg(data)
    elif data.startswith(PNG_START):
        if (whole := png_with_end(data)) is None:
            raise _CutShort
        data = whole
    image = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB)
    return image if image is not None or data.startswith((JPEG_START, PNG_START)) else _decode_by_pillow(data)


def _unusual_jpeg(data: bytes) -> bytes:
    """The whole file. OpenCV fills what is missing of a JPEG: this raises _CutShort for it."""
    with contextlib.suppress(ValueError, KeyError):  # KeyError: a subsampling that simplejpeg has no name for
        _decode_jpeg(data, "CMYK")
    if (whole := jpeg_with_end(data)) is None:
        raise _CutShort
    return whole


def _decode_by_pillow(data: bytes) -> np.ndarray | None:
    """What OpenCV cannot read, if it has eight bits a channel: Pillow cuts deeper ones off instead of scaling them."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB")) if image.mode in _EIGHT_BITS else None
    except Exception:  # its parsers raise whatever they happen upon in a damaged file
        return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG that simplejpeg turns into RGB; None for what OpenCV and Pillow read."""
    if not data.startswith(JPEG_START):
        return None
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError):  # KeyError: a subsampling that it has no name for
        return None
    return None if colorspace in ("CMYK", "YCCK") else (height, width)


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a PNG, whose header has a fixed place."""
    if not data.startswith(PNG_START) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def _header_size(data: bytes, what: str) -> tuple[int, int]:
    if data.startswith(JPEG_START):  # one that simplejpeg leaves to others
        if (size := jpeg_size(data)) is None:
            raise undecodable(data, what)
        return size
    try:
        with Image.open(io.BytesIO(data)) as header:
            return header.height, header.width
    except Image.DecompressionBombError as error:
        raise _too_large(what, "") from error
    except Exception as error:  # as in _decode_by_pillow
        raise undecodable(data, what) from error


def _check_pixels(height: int, width: int, what: str) -> tuple[int, int]:
    if height * width > MOST_PIXELS:
        raise _too_large(what, f" of {width}x{height} pixels")
    return height, width


def _too_large(what: str, size: str) -> DataError:
    return DataError(
        f"{what} is an image{size}, more than the {MOST_PIXELS / 1e6:.0f} million that are decoded: "
        "make it smaller or remove it"
    )


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
