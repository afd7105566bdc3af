"""Few-shot classification against scikit-learn, and the choice of the images against hand-made cases."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from can.config import FewShotConfig
from can.data import ArrayImages
from can.errors import ConfigError
from can.evals.encoder import Encoder, extract_features
from can.evals.few_shot import (
    best_l2_by_mean_rank,
    bit_sizes,
    class_ranks,
    evaluate,
    ridge_logits,
    short_classes,
    subset,
)
from can.models import ViT, model_config


class Pixels(nnx.Module):
    def __init__(self):
        self.scale = nnx.Param(jnp.float32(1))

    def features(self, views: jax.Array) -> jax.Array:
        return self.scale[...] * views.reshape(len(views), -1)


def encoder(size=8):
    return Encoder(*nnx.split(Pixels()), size, size**2 * 3, 64)


@pytest.mark.parametrize(("n", "width"), [(40, 12), (15, 30)])  # each way of the eigendecomposition
def test_the_ridge_equals_scikit_learns(n, width):
    rng = np.random.default_rng(0)
    x, test, labels = rng.normal(3, 2, (n, width)), rng.normal(3, 2, (20, width)), np.arange(n) % 3
    found = ridge_logits(x, labels, test, 3, (1.0, 1024.0))
    white, white_test = ((part - x.mean(0)) / (x.std(0) + 1e-5) for part in (x, test))
    for logits, l2 in zip(found, (1.0, 1024.0), strict=True):
        model = Ridge(alpha=l2, fit_intercept=False, solver="cholesky")
        model.fit(np.c_[white, np.full(n, 100.0)], np.where(labels[:, None] == np.arange(3), 1.0, -1.0))
        np.testing.assert_allclose(logits, model.predict(np.c_[white_test, np.full(20, 100.0)]), atol=1e-5)


def test_choices_take_k_of_each_class_and_all_of_a_smaller_one():
    labels = np.array([0] * 9 + [1] * 2 + [2] * 5)
    ranks = class_ranks(labels, np.random.default_rng(0))
    for label in range(3):
        assert sorted(ranks[labels == label]) == list(range((labels == label).sum()))
    assert np.bincount(labels[ranks < 4]).tolist() == [4, 2, 4]
    assert (ranks != class_ranks(labels, np.random.default_rng(1))).any()


def test_classes_with_fewer_images_than_shots_are_counted_and_said(monkeypatch):
    """The number was called 5shot, whatever it was of."""
    labels = np.array([0] * 9 + [1] * 2 + [2] * 5)
    assert short_classes(labels, 3, (1, 5, 9)) == [(5, 1, 2), (9, 2, 2)]
    assert short_classes(labels, 4, (1,)) == [(1, 1, 0)]
    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    images = patterned(8)
    images = dataclasses.replace(images, labels=np.array([0] * 10 + [1] * 2, np.int32))
    found = evaluate(encoder(), images, images, FewShotConfig(shots=(2, 3), choices=1), seed=0)
    assert found["short_classes"] == {"3shot": 1}
    (line,) = (line for line in told if "shots" in line)  # another one says that the sets share images
    assert "1 of 2 classes have fewer images than 3 shots (the smallest has 2)" in line


def test_the_mean_rank_rule_on_a_hand_made_table():
    assert best_l2_by_mean_rank(np.array([[0.9, 0.5, 0.6], [0.1, 0.2, 0.3], [0.2, 0.1, 0.3]])) == 2
    assert best_l2_by_mean_rank(np.array([[0.5, 0.5], [0.5, 0.5]])) == 0


def digits() -> tuple[ArrayImages, ArrayImages]:
    """scikit-learn's handwritten digits, each pixel enlarged to a block of four by four."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    large = pixels.repeat(4, 1).repeat(4, 2).repeat(3, 3)
    names = tuple("0123456789")
    train, test = (
        ArrayImages("digits", split, 10, names, split, large[part], labels[part].astype(np.int32))
        for split, part in (("train", slice(898)), ("test", slice(898, None)))
    )
    return train, test


@pytest.mark.parametrize("rule", ["lsr", "sgd"])
def test_more_shots_help_and_features_are_kept(rule, tmp_path, monkeypatch):
    train, test = digits()
    config = FewShotConfig(rule=rule, shots=(1, 10), choices=2, steps=100)
    found = evaluate(encoder(), train, test, config, seed=0, cache_dir=tmp_path / "features")
    assert found["10shot"] > found["1shot"] + 0.1 > 0.3
    assert found["n"] == 899
    monkeypatch.setattr(Encoder, "features", None)  # the second time nothing is encoded
    again = evaluate(encoder(), train, test, config, seed=0, cache_dir=tmp_path / "features")
    correct, same = found.pop("correct"), again.pop("correct")
    assert again == found
    for shots in ("1shot", "10shot"):
        np.testing.assert_array_equal(correct[shots], same[shots])
        assert correct[shots].shape == (2, 899)
        by_choice = correct[shots].mean(1)
        assert found[shots] == by_choice.mean() and found[f"{shots}_sd"] == by_choice.std(ddof=1)


def patterned(size):
    """A set of `size`-pixel images of two classes: bright above and below."""
    labels = np.arange(12, dtype=np.int32) % 2
    images = np.random.default_rng(0).integers(0, 80, (12, size, size, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[slice(0, size // 2) if label else slice(size // 2, None)] += 120
    return ArrayImages("patterns", "train", 2, ("below", "above"), f"p{size}", images, labels)


@pytest.mark.parametrize(("size", "sizes"), [(95, (160, 128)), (96, (448, 384))])
def test_the_size_of_images_follows_bits_rule(size, sizes):
    assert bit_sizes(patterned(size)) == sizes


def test_a_linear_head_sees_images_of_the_size_that_is_asked_for(tmp_path):
    model = ViT(model_config("nano", 32, patch_size=16), rngs=nnx.Rngs(0))
    config = FewShotConfig(rule="sgd", shots=(4,), choices=1, steps=400, resolution="bit")
    images = patterned(32)
    found = evaluate(Encoder.from_model(model), images, images, config, seed=0, cache_dir=tmp_path)
    assert found["4shot"] == 1.0
    features = extract_features(Encoder.from_model(model.at_size(128)), images, resize=160)[0]
    with np.load(next(tmp_path.glob(f"*-{images.fingerprint[:16]}-160.npz"))) as kept:
        np.testing.assert_array_equal(kept["features"], features)
    with pytest.raises(ConfigError, match="divide"):
        Encoder.from_model(model).at_size(100)


def test_a_subset_holds_the_named_images():
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    whole = ArrayImages("a", "train", 2, (), "f", images, np.arange(6, dtype=np.int32) % 2)
    part = subset(whole, np.array([0, 1, 3, 5]))
    assert part.images[:, 0, 0, 0].tolist() == [0, 1, 3, 5]
    assert part.fingerprint != subset(whole, np.array([0, 1, 2, 5])).fingerprint
