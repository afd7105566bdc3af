"""The offline labelled sets: the rules of the split, on made-up images."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from can.data import array_store
from can.errors import DataError
from can.recipes.near_copies import NEAR, near_any, thumbnails
from can.recipes.offline_sets.build import Collected, Item, split_identities, write
from can.recipes.offline_sets.cutout_files import read_on_white
from can.recipes.offline_sets.emoji import identity_of


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def test_no_identity_is_on_both_sides_and_the_sides_are_even():
    items = [Item("ab"[index % 2], f"{index // 4}", noise(index)) for index in range(80)]
    train, test = split_identities("x", items)
    assert not {item.identity for item in train} & {item.identity for item in test}
    assert len(train) == len(test) == 40


def test_copies_and_pictures_of_the_mix_are_dropped(tmp_path):
    items = [Item("ab"[index % 2], str(index), noise(index), test=index >= 40) for index in range(80)]
    copy = np.clip(noise(0).astype(int) + 2, 0, 255).astype(np.uint8)
    items += [Item("a", "copy", copy, test=True), Item("a", "twice", noise(2), test=False)]
    write("x", Collected(items, ["p"], "l", "r", seen=thumbnails([noise(5), noise(45)])), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["dropped"] == {
        "equal images": 1,
        "like a picture of the pre-training mix": 2,
        "over the caps": 0,
        "test images like a training image": 1,
    }
    test = array_store.read(tmp_path, "x")["test"]
    assert len(test) == 39
    assert noise(45).tobytes() not in {image.tobytes() for image in test.images}


def test_near_copies_are_those_of_numpys_distances():
    rng = np.random.default_rng(0)
    others = thumbnails([noise(seed) for seed in range(40)])
    deviations = rng.uniform(0, 2 * NEAR, 3000)
    noisy = others[rng.integers(0, 40, 3000)] + rng.normal(0, 1, (3000, 192)) * deviations[:, None]
    rows = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
    squares = ((rows[:, None].astype(int) - others[None]) ** 2).sum(-1).min(1)
    expected = squares < NEAR**2 * 192
    assert 1000 < expected.sum() < 2000
    np.testing.assert_array_equal(near_any(rows, others), expected)
    assert not near_any(rows, others[:0]).any()


def test_a_series_of_like_drawings_is_capped(tmp_path):
    items = [Item("ab"[index % 2], "series" if index < 60 else str(index), noise(index)) for index in range(160)]
    write("x", Collected(items, ["p"], "l", "r"), tmp_path)
    labels = np.concatenate([part.labels for part in array_store.read(tmp_path, "x").values()])
    assert np.bincount(labels).tolist() == [70, 70]  # 20 of 30 in the series, and 50 others


def test_a_cutout_is_trimmed_and_laid_on_white():
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[4:36, 10:18] = (0, 0, 255, 255)  # BGRA: red
    pixels[4:36, 18:26] = (0, 0, 255, 51)
    image = read_on_white(cv2.imencode(".png", pixels)[1].tobytes(), "x")
    assert image.shape == (32, 32, 3)
    assert image[16, 4].tolist() == image[16, 27].tolist() == [255] * 3
    np.testing.assert_allclose(image[16, 9], [255, 0, 0], atol=2)
    np.testing.assert_allclose(image[16, 22], [255, 204, 204], atol=2)  # a fifth of red
    assert read_on_white(cv2.imencode(".png", 0 * pixels)[1].tobytes(), "x") is None
    with pytest.raises(DataError, match="x is damaged"):
        read_on_white(b"no picture", "x")


def test_variants_of_an_emoji_are_one_identity():
    assert identity_of("WOMAN COOK", "person-role") == identity_of("MAN COOK", "person-role") == "cook"
    assert identity_of("KEYCAP 3", "keycap") == identity_of("KEYCAP 4", "keycap")
