"""Random-resized and centre crops against torchvision's rules worked out by hand, and decoding of damaged files."""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from can.data import crops
from can.data.crops import Box, center_crop, random_resized_crops, resized_crop, sample_box
from can.data.decode import decode_rgb
from can.errors import DataError


class Scripted(np.random.Generator):
    """A generator that returns given numbers."""

    def __init__(self, uniform, integers=()):
        super().__init__(np.random.PCG64())
        self._uniform, self._integers = list(uniform), list(integers)

    def uniform(self, low, high):
        value = self._uniform.pop(0)
        assert low <= value <= high
        return value

    def integers(self, low, high):
        value = self._integers.pop(0)
        assert low <= value < high
        return value


def photo(height=300, width=400, seed=0):
    """A smooth picture, as JPEG bytes and pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue(), pixels


def test_a_box_has_the_drawn_area_aspect_and_place():
    # area 0.25 of 100 x 100, aspect 1.21: width 50 * 1.1, height 50 / 1.1
    rng = Scripted([0.25, math.log(1.21)], [7, 11])
    assert sample_box(100, 100, (0.08, 1.0), rng) == Box(top=7, left=11, height=45, width=55)


def test_a_box_that_does_not_fit_is_drawn_again():
    # The first box would be 115 wide; the second is the whole height and width.
    rng = Scripted([1.0, math.log(4 / 3), 1.0, 0.0], [0, 0])
    assert sample_box(100, 100, (0.08, 1.0), rng) == Box(0, 0, 100, 100)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (1000, 10, Box(top=493, left=0, height=13, width=10)),  # aspect 3/4 of the full width
        (10, 1000, Box(top=0, left=493, height=10, width=13)),  # aspect 4/3 of the full height
    ],
)
def test_after_ten_tries_the_largest_central_box_of_an_allowed_aspect_is_taken(height, width, expected):
    box = sample_box(height, width, (0.5, 1.0), np.random.default_rng(0))
    assert box.height == expected.height
    assert box.width == expected.width
    assert abs(box.top - expected.top) <= 1
    assert abs(box.left - expected.left) <= 1


def test_boxes_stay_inside_and_cover_the_range_of_areas_and_aspects():
    rng = np.random.default_rng(0)
    boxes = [sample_box(300, 400, (0.08, 1.0), rng) for _ in range(3000)]
    for box in boxes:
        assert 0 <= box.top <= 300 - box.height
        assert 0 <= box.left <= 400 - box.width
    areas = np.array([box.height * box.width / 120_000 for box in boxes])
    aspects = np.log([box.width / box.height for box in boxes])
    assert 0.079 < areas.min() < 0.1
    assert 0.9 < areas.max() <= 1
    assert abs(areas[areas < 0.5].mean() - 0.29) < 0.02  # uniform where nearly every box fits
    assert abs(np.abs(aspects).max() - math.log(4 / 3)) < 0.02


@pytest.mark.parametrize("size", [224, 96, 40, 20])  # decoded at 1, 1/2, 1/4 and 1/8 of the size
def test_a_crop_shows_the_pixels_of_its_box_also_when_decoded_at_a_reduced_scale(size, monkeypatch):
    data, pixels = photo(480, 640)
    box = Box(top=31, left=57, height=300, width=390)
    monkeypatch.setattr(crops, "sample_box", lambda *_: box)
    (crop,) = random_resized_crops(data, "photo", 1, size, (0.6, 0.8), np.random.default_rng(3))
    window = Image.fromarray(pixels[box.top : box.top + box.height, box.left : box.left + box.width])
    expected = np.asarray(window.resize((size, size), Image.Resampling.BICUBIC)).astype(float)
    assert np.abs(crop - expected).mean() < 4
    assert np.corrcoef(crop.ravel(), expected.ravel())[0, 1] > 0.995


@pytest.mark.parametrize("factor", [1.02, 1.1, 1.25, 1.5])
def test_a_moderately_large_crop_is_nearer_to_pillows_antialiased_one_than_averaged_areas(factor):
    """On noise whose amplitudes fall with the frequency, as those of photos do."""
    side = round(100 * factor)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side)] * 2))[..., None]
    white = np.fft.fft2(np.random.default_rng(0).normal(size=(side, side, 3)), axes=(0, 1))
    noise = np.fft.ifft2(white / np.maximum(frequency, 1 / side), axes=(0, 1)).real
    pixels = np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((100, 100), Image.Resampling.BICUBIC)).astype(float)

    def error(image):
        return np.sqrt(np.mean((image - expected) ** 2))

    averaged = cv2.resize(pixels, (100, 100), interpolation=cv2.INTER_AREA)
    assert error(resized_crop(pixels, 100)) < error(averaged)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_jpeg_has_the_pixels_that_opencv_decodes(mode, progressive, reduction):
    _, pixels = photo(75, 131)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", progressive=progressive)
    flags = {1: 0, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}
    expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), flags[reduction] or cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_rgb(file.getvalue(), "photo", reduction), expected[..., ::-1])


def test_a_jpeg_in_cmyk_is_cropped_at_its_full_size():
    _, pixels = photo(75, 131)
    file = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(file, "JPEG", quality=95)
    assert decode_rgb(file.getvalue(), "photo", 2).shape == (75, 131, 3)
    (crop,) = random_resized_crops(file.getvalue(), "photo", 1, 16, (0.99, 1.0), np.random.default_rng(0))
    rgb = np.asarray(Image.open(file).convert("RGB").resize((16, 16)), float)
    assert np.abs(crop.mean(axis=(0, 1)) - rgb.mean(axis=(0, 1))).max() < 16  # crops keep at least 3/4 of a side


def test_a_jpeg_whose_header_promises_too_many_pixels_is_an_error():
    data, _ = photo(75, 131)
    size = data.index(bytes([0, 75, 0, 131]))
    huge = data[:size] + bytes([255, 220, 255, 220]) + data[size + 4 :]
    with pytest.raises(DataError, match=r"cat\.jpg"):
        decode_rgb(huge, "cat.jpg")


def test_views_of_one_decoding_are_independent_boxes():
    data, _ = photo()
    views = random_resized_crops(data, "photo", 3, 32, (0.08, 1.0), np.random.default_rng(0))
    assert views.shape == (3, 32, 32, 3)
    assert len({view.tobytes() for view in views}) == 3


def test_the_evaluation_view_is_pillows_resize_and_the_centre():
    _, pixels = photo(300, 400)
    resized = Image.fromarray(pixels).resize((341, 256), Image.Resampling.BICUBIC)  # 400 * 256 / 300 = 341.3
    expected = np.asarray(resized.crop((58, 16, 58 + 224, 16 + 224)))  # (341 - 224) / 2 = 58.5, to even
    np.testing.assert_array_equal(center_crop(pixels, 224, 256), expected)


def test_the_evaluation_view_of_an_image_of_that_size_is_the_image():
    _, pixels = photo(225, 225)
    np.testing.assert_array_equal(center_crop(pixels, 225, 225), pixels)


def test_grey_and_transparent_files_become_three_channels_in_rgb_order():
    red = np.zeros((8, 8, 4), np.uint8)
    red[..., 0], red[..., 3] = 200, 255
    for mode, expected in (("RGBA", (200, 0, 0)), ("L", (60, 60, 60))):
        file = io.BytesIO()
        Image.fromarray(red).convert(mode).save(file, "PNG")
        np.testing.assert_allclose(decode_rgb(file.getvalue(), "x")[4, 4], expected, atol=1)


def test_the_rotation_that_a_camera_noted_is_ignored_as_in_tfds():
    _, pixels = photo(50, 75)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.fromarray(pixels).save(file, "JPEG", exif=exif)
    assert decode_rgb(file.getvalue(), "x").shape == (50, 75, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_a_file_that_is_cut_short_is_an_error_that_names_it(kind, kept):
    file = io.BytesIO()
    Image.fromarray(photo()[1]).save(file, kind)
    data = file.getvalue()
    with pytest.raises(DataError, match="cat.jpg is cut short"):
        decode_rgb(data[: int(kept * len(data))], "cat.jpg")


@pytest.mark.parametrize("data", [b"", b"GIF89a not really", b"<html>404</html>", bytes(1000)])
def test_a_file_that_is_no_image_is_an_error_that_names_it(data):
    with pytest.raises(DataError, match="cat.jpg is not an image"):
        decode_rgb(data, "cat.jpg")
    with pytest.raises(DataError, match="cat.jpg is not an image"):
        random_resized_crops(data, "cat.jpg", 1, 8, (0.1, 1.0), np.random.default_rng(0))


def test_a_png_with_a_flipped_byte_is_an_error():
    file = io.BytesIO()
    Image.fromarray(photo()[1]).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError, match=r"cat\.png"):
        decode_rgb(bytes(data), "cat.png")
