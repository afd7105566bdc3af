"""The rules of the shifted test sets, on the drawn shapes of the smoke scale."""

from __future__ import annotations

import numpy as np
import pytest

from can.data import load
from can.errors import ConfigError
from can.recipes.shifts.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from can.recipes.shifts.movement import moved
from can.recipes.shifts.pose import posed
from can.recipes.shifts.recapture import recaptured
from can.recipes.shifts.rendition import rendered
from can.recipes.shifts.sketch import sketched


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def images(data_dir):
    return np.asarray(load("smoke", "test", data_dir=data_dir).images[:32])


@pytest.mark.parametrize("rule", [posed, recaptured, rendered, sketched])
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


def test_a_movement_shrinks_a_thing_about_its_middle_and_mirrors_what_lies_beyond():
    thing = np.zeros((1, 32, 32, 3), np.uint8)
    thing[:, 8:24, 8:24] = 255
    (shrunk,) = moved(thing, 1, max_angle=0.0, max_shift=0.0, scale=(0.5, 0.5))
    assert (shrunk[13:19, 13:19] > 245).all()  # half the size
    assert shrunk[6:10].max() < 10
    assert (shrunk[:3, 13:19] > 245).all()  # its mirror image


def test_a_pose_moves_more_than_another_capture(images):
    moves = [np.abs(rule(images, 1).astype(float) - images).mean() for rule in (recaptured, posed)]
    assert moves[1] > 1.2 * moves[0]


def test_what_a_turn_uncovers_shows_the_image_again_not_black():
    bright = np.random.default_rng(0).integers(60, 120, (20, 32, 32, 3), dtype=np.uint8)
    assert posed(bright, 1).min() >= 60


def test_a_poster_keeps_an_images_brightness_in_four_tones():
    grey = np.arange(0, 256, 8, dtype=np.uint8)[None, None, :, None].repeat(32, axis=1).repeat(3, axis=3)
    (poster,) = rendered(grey, 1)
    brightness = poster.max(-1).astype(int)
    assert sorted(set(brightness.ravel().tolist())) == [32, 96, 160, 224]
    assert (np.diff(brightness, axis=1) >= 0).all()


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


def test_natural_adversarial_examples_are_test_images_with_their_labels(data_dir):
    test, found = load("smoke", "test", data_dir=data_dir), load("smoke_adversarial", "test", data_dir=data_dir)
    labels = {image.tobytes(): label for image, label in zip(test.images, test.labels, strict=True)}
    assert 0 < len(found) < len(test)
    assert [labels[image.tobytes()] for image in found.images] == found.labels.tolist()


def test_an_unknown_shift_is_named(data_dir):
    with pytest.raises(ConfigError, match="smoke_sketch"):
        load("smoke_sketsh", "test", data_dir=data_dir)
