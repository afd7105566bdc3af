"""Digital damage to images of [0, 1]: each function takes images, a strength and a random generator."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "n height width 3"]
_SMOOTHNESS = 3.0  # pixels over which an elastic displacement changes


def contrast(images: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """Differences from each channel's mean over the image, times `factor`."""
    del rng
    mean = images.mean((1, 2), keepdims=True)
    return (images - mean) * factor + mean


def elastic(images: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Every pixel displaced by a smooth random field of `deviation` pixels (root mean square)."""
    n, height, width = images.shape[:3]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    out = np.empty_like(images)
    for index in range(n):
        field = cv2.GaussianBlur(rng.normal(size=(height, width, 2)), (0, 0), _SMOOTHNESS)
        field = (field * deviation / np.sqrt(np.mean(field**2))).astype(np.float32)
        out[index] = cv2.remap(
            images[index], x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def pixelate(images: Pixels, scale: float, rng: np.random.Generator) -> Pixels:
    """Shrunk to `scale` times the side by averaging, and enlarged again without smoothing."""
    del rng
    side = images.shape[1]
    small = max(1, round(side * scale))
    shrunk = [cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_NEAREST) for image in shrunk])


def jpeg(images: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """Encoded as JPEG of a quality of 1 to 100 and decoded again."""
    del rng
    encoded = [
        cv2.imencode(".jpg", np.round(255 * image).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
        for image in images
    ]
    return np.stack([np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED)) for data in encoded]).astype(np.float32) / 255
