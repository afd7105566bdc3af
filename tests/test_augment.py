"""SimCLR's augmentations against Pillow, OpenCV and colorsys, and the distributions they are drawn from."""

from __future__ import annotations

import colorsys
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from can.augment import eval_view, normalize
from can.augment import simclr as augmentations
from can.config import AugmentConfig

KEY = jax.random.key(0)
SIMCLR, MAE, NONE = AugmentConfig("simclr"), AugmentConfig("mae"), AugmentConfig("none")
LEVEL = 1 / 255

augment = jax.jit(augmentations.augment, static_argnames=("config", "image_size", "views"))
color_jitter = jax.jit(augmentations.color_jitter, static_argnames="prob")
crop_and_resize = jax.jit(augmentations.crop_and_resize, static_argnums=2)
crop_boxes = jax.jit(augmentations.crop_boxes, static_argnums=(1, 2, 3, 4))
gaussian_blur = jax.jit(augmentations.gaussian_blur, static_argnames="prob")
jitter = jax.jit(augmentations._jitter)


def jitter_parameters(batch, strength, prob):
    reach = strength * augmentations.JITTER_RANGES["simclr"]
    return jax.jit(lambda key: augmentations._jitter_parameters(key, batch, reach, prob))(KEY)


random_flip = jax.jit(augmentations.random_flip, static_argnames="prob")
random_gray = jax.jit(augmentations.random_gray, static_argnames="prob")
random_resized_crop = jax.jit(augmentations.random_resized_crop, static_argnums=2)


def photos(batch: int, height: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Colourful bytes with structure at several scales, and some pure black, white and grey pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (batch, 4, 5, 3)).astype(np.float32)
    smooth = np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in coarse])
    x = np.clip(smooth + rng.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)
    x[:, 0, :3] = np.array([0, 255, 128])[:, None]
    return x


def uniform_quantiles(samples: np.ndarray, low: float, high: float) -> float:
    """The Kolmogorov-Smirnov distance between samples and U(low, high)."""
    cdf = (np.sort(samples) - low) / (high - low)
    return float(np.abs(cdf - (np.arange(cdf.size) + 0.5) / cdf.size).max())


# Crop


def pillow_bicubic(image: np.ndarray, box: tuple[int, ...], size: int) -> np.ndarray:
    """The box (top, left, height, width) resized, channel by channel, for Pillow's floats have one channel."""
    top, left, height, width = box
    region = (left, top, left + width, top + height)
    channels = [Image.fromarray(image[..., c].astype(np.float32) / 255) for c in range(3)]
    channels = [channel.resize((size, size), Image.Resampling.BICUBIC, box=region) for channel in channels]
    return np.clip(np.stack(channels, axis=-1), 0, 1)


@pytest.mark.parametrize("size", [14, 28])
def test_crop_equals_pillows_bicubic(size: int) -> None:
    boxes = [(0, 0, 40, 60), (3, 5, 10, 13), (7, 20, 33, 40), (39, 59, 1, 1), (0, 30, 40, 30)]
    x = photos(len(boxes), 40, 60)
    crops = crop_and_resize(jnp.array(x / np.float32(255)), jnp.array(boxes), size)
    for image, box, crop in zip(x, boxes, crops, strict=True):
        np.testing.assert_allclose(crop, pillow_bicubic(image, box, size), atol=1e-5)


def torchvision_box(rng: np.random.Generator, height: int, width: int, area: tuple[float, float]) -> tuple[int, ...]:
    """RandomResizedCrop.get_params as torchvision documents it, in plain Python."""
    for _ in range(10):
        pixels = height * width * rng.uniform(*area)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round(np.sqrt(pixels * ratio)), round(np.sqrt(pixels / ratio))
        if 0 < w <= width and 0 < h <= height:
            return rng.integers(0, height - h + 1), rng.integers(0, width - w + 1), h, w
    raise AssertionError("ten misfits in a row are too rare for this test")


@pytest.mark.parametrize("shape", [(32, 32), (48, 40)])
def test_crop_boxes_are_distributed_as_torchvisions(shape: tuple[int, int]) -> None:
    n = 4000
    ours = np.asarray(crop_boxes(KEY, n, *shape, (0.08, 1.0)))
    rng = np.random.default_rng(0)
    theirs = np.array([torchvision_box(rng, *shape, (0.08, 1.0)) for _ in range(n)])
    for boxes in (ours, theirs):
        assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= shape).all()
    features = [lambda b: b[:, 0], lambda b: b[:, 1], lambda b: b[:, 2] * b[:, 3], lambda b: b[:, 2] / b[:, 3]]
    for feature in features:
        a, b = np.sort(feature(ours)), np.sort(feature(theirs))
        grid = np.union1d(a, b)
        distance = np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")).max() / n
        assert distance < 1.95 * np.sqrt(2 / n)  # two-sample Kolmogorov-Smirnov, p = .001


@pytest.mark.parametrize(("shape", "box"), [((20, 90), (0, 31, 20, 27)), ((90, 20), (31, 0, 27, 20))])
def test_where_no_box_fits_the_crop_is_central_and_keeps_the_nearest_ratio(shape, box) -> None:
    boxes = crop_boxes(KEY, 8, *shape, (1.0, 1.0))
    np.testing.assert_allclose(boxes, np.tile(box, (8, 1)), atol=1)
    np.testing.assert_array_equal(boxes[:, 2:], np.tile(box[2:], (8, 1)))


def test_crop_area_bounds_are_kept() -> None:
    boxes = np.asarray(crop_boxes(KEY, 1000, 224, 224, (0.2, 0.3)))
    area = boxes[:, 2] * boxes[:, 3] / 224**2
    assert 0.195 < area.min() < 0.21 and 0.29 < area.max() < 0.305


# Flip, grey, blur


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_flip_mirrors_the_given_share(prob: float) -> None:
    x = np.tile(photos(1, 8, 8) / np.float32(255), (3000, 1, 1, 1))
    y = np.asarray(random_flip(KEY, jnp.array(x), prob=prob))
    mirrored = (y == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (y == x).all(axis=(1, 2, 3))).all()
    assert abs(mirrored.mean() - prob) < 0.03


@pytest.mark.parametrize("prob", [0.0, 0.2, 1.0])
def test_gray_is_pillows_and_given_to_the_given_share(prob: float) -> None:
    x = photos(3000, 8, 8)
    y = np.asarray(random_gray(KEY, jnp.array(x / np.float32(255)), prob=prob))
    gray = (y[..., 0] == y[..., 1]).all(axis=(1, 2)) & (y[..., 1] == y[..., 2]).all(axis=(1, 2))
    assert abs(gray.mean() - prob) < 0.03
    for index in np.flatnonzero(gray)[:20]:
        expected = np.asarray(Image.fromarray(x[index]).convert("L")) / 255
        np.testing.assert_allclose(y[index, ..., 0], expected, atol=LEVEL)
    np.testing.assert_array_equal(y[~gray], (x / np.float32(255))[~gray])


@pytest.mark.parametrize(("size", "taps"), [(28, 3), (32, 3), (64, 7), (224, 23)])
def test_blur_equals_opencvs_with_a_kernel_of_a_tenth_of_the_height(size: int, taps: int) -> None:
    batch = 12
    x = photos(batch, size, size) / np.float32(255)
    x[..., 0] = 0
    x[:, size // 2, size // 2, 0] = 1  # an impulse, to read each image's sigma from
    y = np.asarray(gaussian_blur(KEY, jnp.array(x), prob=1.0))
    middle = y[:, size // 2, size // 2 - taps : size // 2 + taps + 1, 0]
    assert (middle > 1e-30).sum(axis=1).max() == taps
    sigmas = np.sqrt(-0.5 / np.log(middle[:, taps + 1] / middle[:, taps]))
    assert len(set(sigmas.round(5))) == batch
    for image, blurred, sigma in zip(x, y, sigmas, strict=True):
        expected = cv2.GaussianBlur(image, (taps, taps), float(sigma), borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(blurred, expected, atol=2e-5)


def test_blur_sigma_is_uniform_and_leaves_the_given_share_alone() -> None:
    x = jnp.zeros((4000, 21, 21, 3)).at[:, 10, 10].set(1)
    y = np.asarray(gaussian_blur(KEY, x, prob=0.5), np.float64)
    center, beside = y[:, 10, 10, 0], y[:, 10, 11, 0]
    blurred = beside > 0
    assert abs(blurred.mean() - 0.5) < 0.03
    np.testing.assert_array_equal(y[~blurred], np.asarray(x)[~blurred])
    sigma = np.sqrt(-0.5 / np.log(beside[blurred] / center[blurred]))
    assert uniform_quantiles(sigma, 0.1, 2.0) < 1.95 / np.sqrt(blurred.sum())


# Colour


def enhance(image: np.ndarray, operation: int, factor: float) -> np.ndarray:
    """One colour operation on an image of [0, 1], by Pillow for blends and colorsys for hue."""
    if operation == augmentations.HUE:
        pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3)]
        return np.array([colorsys.hsv_to_rgb((h + factor) % 1, s, v) for h, s, v in pixels]).reshape(image.shape)
    enhancer = {
        augmentations.BRIGHTNESS: ImageEnhance.Brightness,
        augmentations.CONTRAST: ImageEnhance.Contrast,
        augmentations.SATURATION: ImageEnhance.Color,
    }[operation]
    as_bytes = Image.fromarray((image * 255).round().astype(np.uint8))
    return np.asarray(enhancer(as_bytes).enhance(factor)) / 255


@pytest.mark.parametrize("operation", range(4))
def test_each_color_operation_equals_its_reference(operation: int) -> None:
    x = photos(6, 12, 10) / np.float32(255)
    factors = np.array(
        [-0.2, -0.1, 0.0, 0.05, 0.15, 0.2] if operation == augmentations.HUE else [0.2, 0.5, 1, 1.3, 1.6, 1.8]
    )
    planar = jnp.array(np.moveaxis(x, -1, 1))
    actual = jitter(planar, jnp.full(6, operation), jnp.array(factors, jnp.float32))
    actual = np.moveaxis(np.asarray(actual), 1, -1)
    tolerance = 1e-5 if operation == augmentations.HUE else 2 * LEVEL  # Pillow rounds to bytes, and the mean grey too
    for index in range(6):
        np.testing.assert_allclose(actual[index], enhance(x[index], operation, factors[index]), atol=tolerance)


def test_color_jitter_applies_the_four_operations_in_each_images_order(monkeypatch) -> None:
    """In each of the 24 orders; and clips after each: with strong factors the result depends on it."""
    x = photos(24, 8, 8) / np.float32(255)
    rng = np.random.default_rng(0)
    factors_of = np.concatenate([rng.uniform(0.2, 1.8, (24, 3)), rng.uniform(-0.2, 0.2, (24, 1))], axis=1)
    orders = np.array(list(itertools.permutations(range(4))))
    drawn = jnp.array(orders.T), jnp.array(np.take_along_axis(factors_of, orders, axis=1).T, jnp.float32)
    monkeypatch.setattr(augmentations, "_jitter_parameters", lambda *_: drawn)
    actual = np.asarray(augmentations.color_jitter(KEY, jnp.array(x)))
    weights = np.array([0.299, 0.587, 0.114])
    for index in range(24):
        image = x[index].astype(np.float64)
        for operation in orders[index]:
            factor, gray = factors_of[index, operation], (image @ weights)[..., None]
            if operation == augmentations.HUE:
                image = enhance(image, operation, factor)
            else:
                anchor = {
                    augmentations.BRIGHTNESS: 0,
                    augmentations.CONTRAST: gray.mean(),
                    augmentations.SATURATION: gray,
                }
                image = np.clip(anchor[operation] + factor * (image - anchor[operation]), 0, 1)
        np.testing.assert_allclose(actual[index], image, atol=1e-4)


def test_all_24_orders_are_equally_likely() -> None:
    n = 24_000
    order, _ = jitter_parameters(n, 1.0, 0.8)
    found, counts = np.unique(np.asarray(order).T, axis=0, return_counts=True)
    assert [tuple(row) for row in found] == sorted(itertools.permutations(range(4)))
    assert ((counts - n / 24) ** 2 / (n / 24)).sum() < 49.7  # chi-square, 23 degrees of freedom, p = .001


def test_jitter_factors_are_uniform_and_applied_to_the_given_share() -> None:
    n = 10_000
    order, factors = map(np.asarray, jitter_parameters(n, 0.5, 0.8))
    by_operation = np.take_along_axis(factors, np.argsort(order, axis=0), axis=0)
    applied = (by_operation != np.array([[1], [1], [1], [0]])).any(axis=0)
    assert abs(applied.mean() - 0.8) < 0.02
    for operation, (low, high) in enumerate([(0.6, 1.4)] * 3 + [(-0.1, 0.1)]):
        assert uniform_quantiles(by_operation[operation, applied], low, high) < 1.95 / np.sqrt(applied.sum())
    correlation = np.corrcoef(by_operation[:, applied])
    assert np.abs(correlation - np.eye(4)).max() < 0.05


def test_jitter_that_is_not_applied_changes_nothing() -> None:
    x = photos(4, 16, 16) / np.float32(255)
    np.testing.assert_allclose(color_jitter(KEY, jnp.array(x), prob=0.0), x, atol=1e-6)


# Whole views


def test_solarise_is_pillows_and_given_to_the_share_of_each_kind_of_view() -> None:
    """All 256 values; of views without it none, of the others a fifth of the images (Grill et al., 2020)."""
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    solarised = augmentations.random_solarize(jax.random.key(0), jnp.asarray(values / 255, jnp.float32), 1.0)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(values[0]), 128))
    np.testing.assert_array_equal(np.round(np.asarray(solarised[0]) * 255), expected)
    white = jnp.ones((4000, 1, 1, 3))
    shares = jnp.tile(jnp.array([0.0, 0.2]), 2000)
    changed = np.asarray(augmentations.random_solarize(jax.random.key(1), white, shares))[:, 0, 0, 0] == 0
    assert not changed[::2].any() and changed[1::2].mean() == pytest.approx(0.2, abs=0.03)


def test_random_resized_crop_is_pillows_for_every_images_box() -> None:
    """The boxes are read from crops of a ramp: with one key they are those of every batch of this shape."""
    height, width, size = 40, 30, 20
    rows, columns = np.mgrid[:height, :width] + np.float32(0.5)
    ramp = np.stack([rows / height, columns / width, 0 * rows], axis=-1).astype(np.float32)
    shown = np.asarray(random_resized_crop(KEY, jnp.array(np.tile(ramp, (16, 1, 1, 1))), size), np.float64)
    x = photos(16, height, width)
    crops = random_resized_crop(KEY, jnp.array(x / np.float32(255)), size)
    boxes = []
    for image, places, crop in zip(x, shown, crops, strict=True):
        box = [0, 0, 0, 0]
        for axis, side in ((0, height), (1, width)):
            middle = side * places.take(range(6, 14), axis=axis)[..., axis].mean(axis=1 - axis)
            length = size * np.diff(middle).mean()
            box[axis], box[2 + axis] = round(middle.mean() - length / 2), round(length)
        np.testing.assert_allclose(crop, pillow_bicubic(image, tuple(box), size), atol=1e-5)
        boxes.append(tuple(box))
    assert len(set(boxes)) == 16


@pytest.mark.parametrize("shape", [(28, 28), (40, 30)])
def test_views_differ_between_images_views_and_keys_but_not_between_calls(shape: tuple[int, int]) -> None:
    images = jnp.array(np.tile(photos(1, *shape), (16, 1, 1, 1)))

    def views(key) -> np.ndarray:
        return np.asarray(augment(key, images, SIMCLR, image_size=28, views=2))

    first = views(KEY)
    assert first.shape == (2, 16, 28, 28, 3) and first.dtype == np.float32
    assert first.min() >= 0 and first.max() <= 1
    different = np.concatenate([first, views(jax.random.key(1))]).reshape(64, -1)
    distances = np.abs(different[:, None] - different[None]).mean(axis=-1)
    assert distances[~np.eye(64, dtype=bool)].min() > 1e-3
    np.testing.assert_array_equal(first, views(KEY))


def test_each_view_shows_its_own_image() -> None:
    flat = np.arange(8, dtype=np.uint8) * 30
    images = np.broadcast_to(flat[:, None, None, None], (8, 20, 20, 3))
    views = augment(KEY, jnp.array(images), MAE, image_size=16, views=3)
    np.testing.assert_allclose(views, np.broadcast_to(flat[:, None, None, None] / 255, (3, 8, 16, 16, 3)), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_grey_images_stay_grey(batch: int) -> None:
    gray = np.repeat(photos(batch, 28, 28)[..., :1], 3, axis=-1)
    views = np.asarray(augment(KEY, jnp.array(gray), SIMCLR, image_size=28, views=2))
    assert np.ptp(views, axis=-1).max() < 1e-6
    assert np.isfinite(views).all() and views.std() > 0.05


def test_mae_views_are_crops_without_any_change_of_color() -> None:
    images = photos(64, 32, 32)
    config = AugmentConfig("mae", crop_area_min=1.0)  # the whole image, but for the few that draw ten misfits
    views = np.asarray(augment(KEY, jnp.array(images), config, image_size=32, views=1))[0]
    x = images / np.float32(255)
    distances = np.stack([np.abs(views - candidate).max(axis=(1, 2, 3)) for candidate in (x, x[:, :, ::-1])])
    assert distances.min(axis=0).max() < 1e-5
    assert 10 < (distances[0] < distances[1]).sum() < 54


def test_host_cropped_views_are_not_cropped_again() -> None:
    crops = photos(16, 24, 24).reshape(8, 2, 24, 24, 3)
    views = np.asarray(augment(KEY, jnp.array(crops), MAE, image_size=24, views=2))
    expected = np.swapaxes(crops, 0, 1) / np.float32(255)
    kept = np.isclose(views, expected, atol=1e-6).all(axis=(2, 3, 4))
    mirrored = np.isclose(views, expected[:, :, :, ::-1], atol=1e-6).all(axis=(2, 3, 4))
    assert (kept ^ mirrored).all() and kept.any() and mirrored.any()
    colored = np.asarray(augment(KEY, jnp.array(crops), SIMCLR, image_size=24, views=2))
    assert np.abs(colored - views).mean() > 0.01


def test_host_cropped_views_of_the_wrong_number_or_size_are_refused() -> None:
    crops = jnp.zeros((4, 2, 24, 24, 3), jnp.uint8)
    for size, views in ((24, 1), (28, 2)):
        with pytest.raises(ValueError, match=f"are not {views} views of {size} pixels"):
            augment(KEY, crops, SIMCLR, image_size=size, views=views)


def test_no_augmentation_gives_the_image_itself_resized_if_need_be() -> None:
    images = photos(3, 30, 40)
    same = np.asarray(augment(KEY, jnp.array(images[:, :, :30]), NONE, image_size=30, views=2))
    np.testing.assert_allclose(same, np.broadcast_to(images[:, :, :30] / 255, same.shape), atol=1e-6)
    resized = np.asarray(augment(KEY, jnp.array(images), NONE, image_size=24, views=2))
    np.testing.assert_array_equal(resized[0], resized[1])
    for image, actual in zip(images, resized[0], strict=True):
        np.testing.assert_allclose(actual, pillow_bicubic(image, (0, 0, 30, 40), 24), atol=1e-5)


def test_eval_view_is_normalised_by_imagenets_statistics() -> None:
    images = photos(2, 8, 8)
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(eval_view(jnp.array(images)), expected, atol=1e-5)
    np.testing.assert_allclose(normalize(jnp.array(images / np.float32(255))), expected, atol=1e-5)


EIGHT_DEVICES = """
import re

import jax
import numpy as np

from can.augment import augment
from can.config import AugmentConfig
from can.sharding import batch_sharding, make_mesh

views = jax.jit(lambda key, images: augment(key, images, AugmentConfig(), image_size=28, views=2))
images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
key = jax.random.key(0)
on_one = views(key, jax.device_put(images, jax.devices()[0]))
sharded = jax.device_put(images, batch_sharding(make_mesh()))
on_eight = views(key, sharded)
assert len(on_eight.sharding.device_set) == 8 and not on_eight.sharding.is_fully_replicated
np.testing.assert_allclose(on_one, on_eight, atol=1e-6)
program = views.lower(key, sharded).compile().as_text()
assert not re.search("all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter", program)
"""


def test_eight_devices_augment_as_one_does_and_exchange_nothing(run_python) -> None:
    run_python(EIGHT_DEVICES, devices=8)
