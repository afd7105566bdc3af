"""Blur on images of [0, 1]: each function takes images, a strength in pixels and a random generator."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

Pixels = Float[np.ndarray, "n height width 3"]
_SUBPIXELS = 8  # a disc is drawn at this resolution and averaged
_ZOOM_STEPS = 9


def defocus(images: Pixels, radius: float, rng: np.random.Generator) -> Pixels:
    """Convolution with a disc of `radius` pixels, as of a lens out of focus."""
    del rng
    reach = int(np.ceil(radius))
    grid = (np.arange((2 * reach + 1) * _SUBPIXELS) + 0.5) / _SUBPIXELS - reach - 0.5
    disc = (np.hypot(*np.meshgrid(grid, grid)) <= radius).astype(np.float32)
    kernel = disc.reshape(2 * reach + 1, _SUBPIXELS, 2 * reach + 1, _SUBPIXELS).mean((1, 3))
    return _filtered(images, [kernel / kernel.sum()] * len(images))


def glass(images: Pixels, deviation: float, rng: np.random.Generator) -> Pixels:
    """Every pixel shows a place that a normal draw of `deviation` pixels displaced, as through frosted glass."""
    height, width = images.shape[1:3]
    y, x = np.mgrid[:height, :width]
    moved = np.round(rng.normal(0, deviation, (2, len(images), height, width))).astype(int)
    rows, columns = np.clip(y + moved[0], 0, height - 1), np.clip(x + moved[1], 0, width - 1)
    return images[np.arange(len(images))[:, None, None], rows, columns]


def motion(images: Pixels, length: float, rng: np.random.Generator) -> Pixels:
    """Convolution with a line of `length` pixels at a random angle."""
    half = int(np.ceil(length / 2))
    kernels = []
    for angle in rng.uniform(0, np.pi, len(images)):
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        along = np.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * int(length))
        places = np.round([half + along * np.sin(angle), half + along * np.cos(angle)]).astype(int)
        np.add.at(kernel, tuple(places), 1)
        kernels.append(kernel / kernel.sum())
    return _filtered(images, kernels)


def zoom(images: Pixels, factor: float, rng: np.random.Generator) -> Pixels:
    """The mean of the image enlarged about its centre by factors from 1 to `factor`."""
    del rng
    height, width = images.shape[1:3]
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrices = [cv2.getRotationMatrix2D(centre, 0, scale) for scale in np.linspace(1, factor, _ZOOM_STEPS)]
    return np.stack(
        [np.mean([cv2.warpAffine(image, matrix, (width, height)) for matrix in matrices], axis=0) for image in images]
    )


def _filtered(images: Pixels, kernels: list[np.ndarray]) -> Pixels:
    return np.stack(
        [
            cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
            for image, kernel in zip(images, kernels, strict=True)
        ]
    )
