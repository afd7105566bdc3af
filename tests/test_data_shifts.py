"""The rules of the shifted test sets, on the drawn shapes of the smoke scale."""

from __future__ import annotations

import numpy as np
import pytest

from can.data import load
from can.errors import ConfigError
from can.offline_data.shifts.background import on_photos
from can.offline_data.shifts.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from can.offline_data.shifts.recapture import recaptured
from can.offline_data.shifts.rendition import rendered
from can.offline_data.shifts.sketch import sketched


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def images(data_dir):
    return np.asarray(load("smoke", "test", data_dir=data_dir).images[:32])


@pytest.mark.parametrize("rule", [recaptured, rendered, sketched])
def test_a_rule_is_a_function_of_images_and_seed_and_moves_most_of_them(rule, images):
    shifted = rule(images, 1)
    assert shifted.dtype == np.uint8 and shifted.shape == images.shape
    np.testing.assert_array_equal(shifted, rule(images, 1))
    assert (shifted != images).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_damage_grows_with_its_severity_and_repeats(kind, images):
    damaged = [corrupted(images, kind, severity, 1).astype(float) for severity in SEVERITIES]
    distance = [np.abs(made - images).mean() for made in damaged]
    assert distance[0] > 0
    assert distance[-1] > 1.2 * distance[0]
    np.testing.assert_array_equal(damaged[2], corrupted(images, kind, 3, 1))


def test_things_on_black_keep_their_brightest_pixels_before_a_photograph():
    thing = np.zeros((1, 28, 28, 3), np.uint8)
    thing[:, 8:20, 8:20] = 255
    photograph = [np.random.default_rng(0).integers(60, 120, (64, 64, 3), dtype=np.uint8)]
    (shown,) = on_photos(thing, [photograph], 1, on_black=True)
    assert (shown[12:16, 12:16] > 245).all()  # rotated about the middle
    assert ((shown[0] >= 60) & (shown[0] < 120)).all()


def test_a_shifted_set_keeps_the_labels_and_damage_is_listed_strength_by_strength(data_dir):
    test = load("smoke", "test", data_dir=data_dir)
    sketch = load("smoke_sketch", "test", data_dir=data_dir)
    np.testing.assert_array_equal(sketch.labels, test.labels)
    assert sketch.class_names == test.class_names
    frost = load("smoke_corruptions", "frost", data_dir=data_dir)
    np.testing.assert_array_equal(frost.labels, np.tile(test.labels, 5))
    np.testing.assert_array_equal(
        frost.images[len(test) : 2 * len(test)], corrupted(np.asarray(test.images), "frost", 2, 2022)
    )


def test_an_unknown_shift_is_named(data_dir):
    with pytest.raises(ConfigError, match="smoke_sketch"):
        load("smoke_sketsh", "test", data_dir=data_dir)
