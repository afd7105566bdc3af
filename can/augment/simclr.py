"""SimCLR's augmentations (Chen et al., 2020, App. A) and BYOL's, pure batched functions of the jitted training step.

Every image draws its own parameters. All functions take and return images as `[batch, height, width, 3]` but work on
channels-first copies: XLA vectorises over the innermost axis on a CPU, and three channels are too few for that. The
transpositions between consecutive functions cancel when they are compiled together. Two views of 256 images of 32
pixels take about 15 ms on two cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from can.config import AugmentConfig
from can.sharding import shard_rows

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, the grey of Pillow and torchvision

CROP_RATIO = (3 / 4, 4 / 3)  # width / height
CROP_CANDIDATES = 10  # as many draws as torchvision tries before it falls back to a central crop
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
JITTER_IDENTITY = np.array([1.0, 1.0, 1.0, 0.0])  # three factors and a share of a turn
# On either side of the identity, at color_strength 1; those of Chen et al. (2020) and of Grill et al. (2020).
JITTER_RANGES = {"simclr": np.array([0.8, 0.8, 0.8, 0.2]), "byol": np.array([0.4, 0.4, 0.2, 0.1])}
JITTER_ALWAYS = np.array([0.4, 0.4, 0.4, 0.0])  # of "beit"
BLUR_SIGMA = (0.1, 2.0)  # pixels

Planar = Float[Array, "batch 3 height width"]
Prob = float | Float[Array, " batch"]  # the same for all images, or one for each


class View(NamedTuple):
    """How views of a kind differ: shares of the probabilities that an AugmentConfig states."""

    blur: float = 1.0
    solarize: float = 1.0


def augment(
    key: PRNGKeyArray,
    images: UInt8[Array, "batch height width 3"] | UInt8[Array, "batch views size size 3"],
    config: AugmentConfig,
    *,
    image_size: int,
    views: int,
    kinds: Sequence[View] = (),
) -> Float[Array, "views batch size size 3"]:
    """Independently augmented views of each image, in [0, 1].

    Five-dimensional input was cropped on the host already, one crop per view, and is not cropped again. The names of
    `config` are "simclr" (crop, flip, colour, blur), "byol" (the same with weaker colours, and solarisation; Grill et
    al., 2020), "beit" (crop, flip, and colours but for the hue, always; Bao et al., 2022), "mae" (crop and flip, He et
    al., 2022) and "none" (at most a resize: for it `can.data.batches` makes evaluation views of the right size).
    `kinds`: of each view, if they differ in how often they are blurred and solarised. Raises ValueError if host-made
    crops have another number of views or another size than asked for.
    """
    crop_key, flip_key, color_key, gray_key, blur_key = jax.random.split(key, 5)
    batch = images.shape[0]
    x = to_float(images)
    # The views of an image become neighbours in one axis, so that a batch sharded over devices stays where it is.
    if images.ndim == 5:
        if images.shape[1:4] != (views, image_size, image_size):
            raise ValueError(f"crops of shape {images.shape[1:]} are not {views} views of {image_size} pixels")
        x = x.reshape(batch * views, image_size, image_size, 3)
    elif config.name == "none":
        x = jnp.clip(jax.image.resize(x, (batch, image_size, image_size, 3), "cubic"), 0, 1)
        x = jnp.repeat(x, views, axis=0)
    else:
        x = jnp.repeat(x, views, axis=0)
        x = random_resized_crop(crop_key, x, image_size, (config.crop_area_min, config.crop_area_max))
    # The hint stands before and behind the operations: of one alone, XLA would gather images in between.
    x = shard_rows(x)
    if config.name != "none":
        x = random_flip(flip_key, x)
    if config.name in JITTER_RANGES:
        x = color_jitter(color_key, x, config.color_strength, config.color_prob, JITTER_RANGES[config.name])
        x = random_gray(gray_key, x, config.gray_prob)
        blur: Prob = config.blur_prob
        solarize: Prob = config.solarize_prob
        if kinds:  # views of an image are neighbours
            blur = jnp.tile(jnp.array([kind.blur * config.blur_prob for kind in kinds]), batch)
            solarize = jnp.tile(jnp.array([kind.solarize * config.solarize_prob for kind in kinds]), batch)
        if config.blur_prob > 0 or not kinds:
            x = gaussian_blur(blur_key, x, blur)
        x = jnp.clip(x, 0, 1)  # the blur's weights may sum to 1 + 1e-7
        if config.solarize_prob > 0:
            x = random_solarize(jax.random.fold_in(blur_key, 1), x, solarize)
    elif config.name == "beit":
        x = color_jitter(color_key, x, config.color_strength, 1.0, JITTER_ALWAYS)
    x = shard_rows(x)
    return jnp.swapaxes(x.reshape(batch, views, image_size, image_size, 3), 0, 1)


def eval_view(images: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
    """The images as the encoder sees them in an evaluation: normalised and not augmented."""
    return normalize(to_float(images))


def to_float(images: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Bytes to [0, 1]."""
    return images.astype(jnp.float32) / 255


def normalize(images: Float[Array, "*batch height width 3"]) -> Float[Array, "*batch height width 3"]:
    """Images of [0, 1] to zero mean and unit standard deviation over ImageNet."""
    return (images - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)


def random_resized_crop(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    size: int,
    area: tuple[float, float] = (0.08, 1.0),
) -> Float[Array, "batch {size} {size} 3"]:
    """Crops a box of a random area, aspect ratio and place (`crop_boxes`) and resizes it to `size` x `size` pixels."""
    batch, height, width, _ = images.shape
    return crop_and_resize(images, crop_boxes(key, batch, height, width, area), size)


def crop_and_resize(
    images: Float[Array, "batch height width 3"], boxes: Int[Array, "batch 4"], size: int
) -> Float[Array, "batch {size} {size} 3"]:
    """Boxes (top, left, height, width) of the images at `size` x `size`, bicubic with antialiasing, in [0, 1].

    As with Pillow's `resize(box=...)`, the kernel reaches over the edge of the box into the image.
    """

    def one(image: Float[Array, "height width 3"], box: Float[Array, " 4"]) -> Float[Array, "size size 3"]:
        scale = size / box[2:]
        shape = (size, size, 3)
        return jax.image.scale_and_translate(image, shape, (0, 1), scale, -box[:2] * scale, "cubic", antialias=True)

    return jnp.clip(jax.vmap(one)(images, boxes.astype(float)), 0, 1)


def crop_boxes(
    key: PRNGKeyArray, batch: int, height: int, width: int, area: tuple[float, float]
) -> Int[Array, "batch 4"]:
    """Random (top, left, height, width) in whole pixels, distributed as torchvision's RandomResizedCrop draws them.

    The share of the image's area is uniform in `area`, the logarithm of the aspect ratio is uniform, and so is the
    place. Boxes that do not fit are drawn again; when none of CROP_CANDIDATES fits, the box is the largest central one
    that keeps to the nearest ratio of CROP_RATIO. As rejection has no fixed number of steps, all are drawn at once.
    """
    candidate_key, place_key = jax.random.split(key)
    u = jax.random.uniform(candidate_key, (2, batch, CROP_CANDIDATES))
    pixels = height * width * (area[0] + (area[1] - area[0]) * u[0])
    low, high = np.log(CROP_RATIO)
    ratio = jnp.exp(low + (high - low) * u[1])
    heights = jnp.round(jnp.sqrt(pixels / ratio)).astype(int)
    widths = jnp.round(jnp.sqrt(pixels * ratio)).astype(int)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)

    first = jnp.argmax(fits, axis=1, keepdims=True)
    found = fits.any(axis=1)
    fallback_height = min(height, round(width / CROP_RATIO[0]))
    fallback_width = min(width, round(height * CROP_RATIO[1]))
    box_height = jnp.where(found, jnp.take_along_axis(heights, first, axis=1)[:, 0], fallback_height)
    box_width = jnp.where(found, jnp.take_along_axis(widths, first, axis=1)[:, 0], fallback_width)

    place = jnp.where(found, jax.random.uniform(place_key, (2, batch)), 0.5)
    top = jnp.floor(place[0] * (height - box_height + 1)).astype(int)
    left = jnp.floor(place[1] * (width - box_width + 1)).astype(int)
    return jnp.stack([top, left, box_height, box_width], axis=1)


def random_flip(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], prob: float = 0.5
) -> Float[Array, "batch height width 3"]:
    """Mirrors left and right with probability `prob`."""
    x = _channels_first(images)
    return _channels_last(jnp.where(_coin(key, x, prob), x[..., ::-1], x))


def color_jitter(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    strength: float = 1.0,
    prob: float = 0.8,
    ranges: Float[np.ndarray, " 4"] = JITTER_RANGES["simclr"],
) -> Float[Array, "batch height width 3"]:
    """With probability `prob` changes brightness, contrast, saturation and hue in a random order.

    The first three take factors of U(1 - range * strength, 1 + range * strength), not below 0; the hue turns by
    U(-range, range) times strength, at most half a turn. The result of each is clipped to [0, 1].
    """
    order, factors = _jitter_parameters(key, images.shape[0], strength * ranges, prob)

    def slot(x: Array, parameters: tuple[Array, Array]) -> tuple[Array, None]:
        return _jitter(x, *parameters), None

    # A scan, for XLA would fuse four calls in a row into one loop that evaluates the first operation many times over.
    return _channels_last(lax.scan(slot, _channels_first(images), (order, factors))[0])


def random_gray(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], prob: float = 0.2
) -> Float[Array, "batch height width 3"]:
    """Replaces the three channels by their grey with probability `prob`."""
    x = _channels_first(images)
    return _channels_last(jnp.where(_coin(key, x, prob), _luma(x), x))


def gaussian_blur(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], prob: Prob = 0.5
) -> Float[Array, "batch height width 3"]:
    """Gaussian blur of sigma U(.1, 2) pixels with probability `prob`, mirrored at the edges.

    The kernel is height / 10 pixels wide, rounded to odd: 23 at 224 pixels, 3 at 28 and 32.
    """
    x = _channels_first(images)
    radius = x.shape[2] // 20
    apply_key, sigma_key = jax.random.split(key)
    low, high = BLUR_SIGMA
    sigma = jax.random.uniform(sigma_key, (x.shape[0], 1, 1, 1), minval=low, maxval=high)
    offsets = np.arange(-radius, radius + 1)
    kernel = jnp.exp(-0.5 * (offsets / sigma) ** 2)  # [B, 1, 1, 2 * radius + 1]
    kernel = kernel / kernel.sum(axis=-1, keepdims=True)
    kernel = jnp.where(_coin(apply_key, x, prob), kernel, offsets == 0)

    x = jnp.pad(x, ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode="reflect")
    return _channels_last(_correlate(_correlate(x, kernel, axis=2), kernel, axis=3))


def random_solarize(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], prob: Prob = 0.2
) -> Float[Array, "batch height width 3"]:
    """Inverts values of .5 and more with probability `prob`, as Pillow's `solarize(128)` those of 128 and more."""
    solarized = jnp.where(images >= 0.5, 1 - images, images)
    return jnp.where(_coin(key, images, prob), solarized, images)


def _correlate(
    x: Planar, kernel: Float[Array, "batch 1 1 taps"], axis: int
) -> Float[Array, "batch 3 valid_height valid_width"]:
    """Sum of shifted images: with so few taps faster than a convolution or a product with a banded matrix."""
    taps = kernel.shape[-1]
    length = x.shape[axis] - taps + 1
    shifted = (kernel[..., i : i + 1] * lax.slice_in_dim(x, i, i + length, axis=axis) for i in range(taps))
    return sum(shifted, start=jnp.zeros(()))


def _jitter_parameters(
    key: PRNGKeyArray, batch: int, reach: Float[np.ndarray, " 4"], prob: float
) -> tuple[Int[Array, "4 {batch}"], Float[Array, "4 {batch}"]]:
    """Which operation each image sees first, second, third and fourth, and with which factor (or turn)."""
    apply_key, order_key, factor_key = jax.random.split(key, 3)
    low = np.maximum(JITTER_IDENTITY - reach, [0, 0, 0, -0.5])
    high = np.minimum(JITTER_IDENTITY + reach, [np.inf, np.inf, np.inf, 0.5])
    factors = jax.random.uniform(factor_key, (batch, 4), minval=low, maxval=high)
    factors = jnp.where(jax.random.uniform(apply_key, (batch, 1)) < prob, factors, JITTER_IDENTITY)
    order = jnp.argsort(jax.random.uniform(order_key, (batch, 4)), axis=1)
    return order.T, jnp.take_along_axis(factors, order, axis=1).T


def _jitter(x: Planar, operation: Int[Array, " batch"], factor: Float[Array, " batch"]) -> Planar:
    """One operation per image, clipped to [0, 1].

    Brightness, contrast and saturation move the image away from, or towards, black, its mean grey, and its grey.
    """
    batch, _, height, width = x.shape
    operation, factor = operation[:, None, None, None], factor[:, None, None, None]
    luma_of_pixels = np.repeat(np.array(LUMA, np.float32) / (height * width), height * width)
    # A matrix product, because XLA's CPU reductions do not vectorise.
    mean = jnp.matmul(x.reshape(batch, -1), luma_of_pixels, precision=lax.Precision.HIGHEST)[:, None, None, None]
    anchor = jnp.where(operation == CONTRAST, mean, jnp.where(operation == SATURATION, _luma(x), 0))
    blended = factor * x + (1 - factor) * anchor
    return jnp.clip(jnp.where(operation == HUE, _turn_hue(x, factor), blended), 0, 1)


def _turn_hue(x: Planar, turn: Float[Array, "batch 1 1 1"]) -> Planar:
    """Adds `turn` (1 is the whole colour circle) to the hue of HSV; value and chroma stay.

    Each channel is a trapezoid over the circle: equal to the value within a sixth of its own colour, one chroma lower
    beyond two sixths, linear between.
    """
    red, green, blue = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # One division of a selected difference, rather than a selection among three quotients.
    difference = jnp.where(value == red, green - blue, jnp.where(value == green, blue - red, red - green))
    sector = jnp.where(value == red, 0.0, jnp.where(value == green, 2.0, 4.0))
    hue = sector + difference / jnp.where(chroma > 0, chroma, 1)  # in sixths of the circle
    channel_hue = np.array([0.0, 2.0, 4.0], np.float32)[:, None, None]
    distance = hue + 6 * turn - channel_hue
    distance = jnp.abs(distance - 6 * jnp.round(distance / 6))
    return value - chroma * jnp.clip(distance - 1, 0, 1)


def _luma(x: Planar) -> Float[Array, "batch 1 height width"]:
    red, green, blue = LUMA
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]


def _coin(key: PRNGKeyArray, x: Float[Array, "batch _ _ _"], prob: Prob) -> Bool[Array, "batch 1 1 1"]:
    """True with probability `prob`, for each image of its own."""
    each = prob if isinstance(prob, float | int) else prob[:, None, None, None]
    return jax.random.uniform(key, (x.shape[0], 1, 1, 1)) < each


def _channels_first(images: Float[Array, "batch height width 3"]) -> Planar:
    return jnp.moveaxis(images, -1, 1)


def _channels_last(x: Planar) -> Float[Array, "batch height width 3"]:
    return jnp.moveaxis(x, 1, -1)
