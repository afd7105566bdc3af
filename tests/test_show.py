"""What `can show` draws: masks, reconstructions, noise, attention, neighbours, a map."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from sklearn.neighbors import NearestNeighbors
from test_public_weights import COMMON, IMAGES, pixels, randomised
from test_train import tiny_config

from can import training_step
from can.augment import eval_view
from can.errors import ConfigError
from can.evals.encoder import Encoder
from can.methods import settings_class
from can.show.attention import attention_of
from can.show.made import HIDDEN, made_of
from can.show.neighbours import nearest
from can.show.plane import in_plane
from can.weights.described import Described
from can.weights.load import encoder_from

RNG = np.random.default_rng(0)


def made(method: str, **settings: object) -> dict[str, np.ndarray]:
    """What an untrained method makes of two images, by the first word of its title."""
    config = dataclasses.replace(tiny_config(), method=settings_class(method)(**settings))
    size = config.model.image_size
    images = RNG.integers(60, 200, (2, size, size, 3), np.uint8)  # not the grey of what is hidden
    found = made_of(training_step.new_method(config), images)
    return {title.split()[0].strip(":,"): picture for title, picture in found.items()}


@pytest.mark.parametrize(
    ("method", "settings"),
    [("can", dict(sigma_max=0.5)), ("mae", dict(mask_rate=0.75)), ("simmim", dict(mask_rate=0.5, mask_unit=1))],
)
def test_the_encoder_is_shown_a_share_of_the_image_and_the_rest_is_filled_in(method: str, settings: dict) -> None:
    found = made(method, **settings)
    rate = settings.get("mask_rate", 0.5)
    hidden = (found["visible"] == HIDDEN).all(-1)
    assert hidden.mean((1, 2)) == pytest.approx([rate, rate])
    assert np.abs(found["reconstruction"][~hidden].astype(int) - found["image"][~hidden]).max() <= 1
    assert (found["reconstruction"][hidden] != HIDDEN).any()
    change = found["visible"][~hidden].astype(float) - found["image"][~hidden]
    if method != "can":
        assert list(found) == ["image", "visible", "reconstruction"] and np.abs(change).max() <= 1
        return
    assert list(found) == ["image", "visible", "reconstruction", "noise", "predicted"]
    assert (found["noise"][hidden] == HIDDEN).all() and (found["predicted"][hidden] == HIDDEN).all()
    added = found["noise"][~hidden] / 255 - 0.5
    assert abs(added.mean()) < 0.02 and added.std() == pytest.approx(1 / 5, abs=0.02)  # a level is a fifth of the range
    assert np.corrcoef(change.ravel(), added.ravel())[0, 1] > 0.99


def test_normalised_patches_borrow_the_contrast_of_the_image() -> None:
    found = made("mae", norm_pix=True)
    hidden = (found["visible"] == HIDDEN).all(-1)
    assert found["reconstruction"][hidden].mean() == pytest.approx(found["image"][hidden].mean(), abs=8)


def test_a_method_that_compares_features_names_the_pictures_that_there_are() -> None:
    with pytest.raises(ConfigError, match="simclr neither masks .* pass --attention"):
        made("simclr")


def test_attention_is_transformers() -> None:
    """Of the cls token, behind which register tokens stand: what those get is left out."""
    config = transformers.Dinov2WithRegistersConfig(**COMMON, mlp_ratio=2, num_register_tokens=4)
    model = randomised(transformers.Dinov2WithRegistersModel(config))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        theirs = model(pixels(), output_attentions=True).attentions[-1].numpy()[:, :, 0, 5:]
    encoder = encoder_from(model.state_dict(), Described(heads=3, pool="cls"))
    maps = attention_of(Encoder.from_model(encoder), IMAGES)
    assert maps.shape == (3, 3, 4, 4)
    np.testing.assert_allclose(maps.reshape(theirs.shape), theirs / theirs.sum(-1, keepdims=True), atol=1e-4)


def test_attention_of_a_mean_is_the_mean_over_patches() -> None:
    model = training_step.new_method(tiny_config()).encoder
    images = RNG.integers(0, 256, (2, model.image_size, model.image_size, 3), np.uint8)
    weights, feature = model.attention(eval_view(jnp.asarray(images)))
    assert feature is None and np.asarray(weights.sum(-1)) == pytest.approx(1, abs=1e-5)
    maps = attention_of(Encoder.from_model(model), images)
    np.testing.assert_allclose(maps.reshape(2, maps.shape[1], -1), np.asarray(weights).mean(2), atol=1e-5)


def test_neighbours_are_scikit_learns() -> None:
    features = RNG.normal(size=(40, 6)).astype(np.float32)
    found = nearest(features, asked=5, k=3)
    distances, places = NearestNeighbors(n_neighbors=4, metric="cosine").fit(features).kneighbors(features[:5])
    np.testing.assert_array_equal(found.places, places[:, 1:])  # the first is the image itself
    np.testing.assert_allclose(found.cosines, 1 - distances[:, 1:], atol=1e-5)


def test_a_map_puts_images_of_like_features_together() -> None:
    centres = np.repeat(np.eye(3, dtype=np.float32), 12, axis=0)
    points = in_plane(centres + 0.05 * RNG.normal(size=centres.shape).astype(np.float32))
    own = np.linalg.norm(points - points.reshape(3, 12, 2).mean(1).repeat(12, 0), axis=1)
    between = np.linalg.norm(points.reshape(3, 12, 2).mean(1)[[0, 1, 2]] - points.reshape(3, 12, 2).mean(1)[[1, 2, 0]])
    assert own.mean() < between / 4
