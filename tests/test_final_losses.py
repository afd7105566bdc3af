"""The losses of trained methods on fixed held-out views: what they are, and that all methods see the same."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_objectives import info_nce_by_hand
from test_train import tiny_config

from can import data, train, trained, training_step
from can.config import AugmentConfig
from can.errors import ConfigError, DataError
from can.evals import final_losses
from can.evals.final_losses import evaluate
from can.methods import settings_class
from can.methods.method import Shown
from can.runs import RunDir
from can.views import shuffle

PROTOCOL = dict(augment=AugmentConfig(crop_area_min=0.3), mask_rate=0.5, batch_size=8, seed=0)


def method(name: str, **settings):
    return training_step.new_method(dataclasses.replace(tiny_config(), method=settings_class(name)(**settings)))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return data.load("smoke", "test[:20]", data_dir=tmp_path_factory.mktemp("data"))


def test_a_method_has_the_losses_of_its_modules_whatever_it_was_trained_on(images):
    """Two whole batches of 8 are seen of the 20 images."""
    found = {name: evaluate(method(name), images, **PROTOCOL) for name in ("can", "simclr", "mae", "random")}
    assert {name: set(losses) - {"n"} for name, losses in found.items()} == {
        "can": {"infonce", "reconstruct", "denoise"},
        "simclr": {"infonce"},
        "mae": {"reconstruct"},
        "random": set(),
    }
    assert {losses["n"] for losses in found.values()} == {16}
    plain = evaluate(method("can", denoise_loss=False, norm_pix=True), images, **PROTOCOL)
    assert set(plain) == {"infonce", "n"}
    assert set(evaluate(method("can"), images, **PROTOCOL | {"mask_rate": 0.0})) == {"infonce", "denoise", "n"}


def test_methods_of_equal_weights_have_equal_losses(images):
    """Trained with other masks, noise and temperature, CAN, SimCLR and MAE still see the same."""
    can = method("can", mask_rate=0.75, sigma_embedding=False, temperature=0.3, infonce_reduction="sum")
    simclr, mae = method("simclr"), method("mae")
    for part in ("encoder", "head"):
        nnx.update(getattr(simclr, part), nnx.state(getattr(can, part)))
    for part in ("encoder", "decoder"):
        nnx.update(getattr(mae, part), nnx.state(getattr(can, part)))
    ours = evaluate(can, images, **PROTOCOL)
    assert evaluate(simclr, images, **PROTOCOL)["infonce"] == pytest.approx(ours["infonce"], rel=1e-6)
    assert evaluate(mae, images, **PROTOCOL)["reconstruct"] == pytest.approx(ours["reconstruct"], rel=1e-6)
    assert evaluate(can, images, **PROTOCOL) == ours
    assert evaluate(can, images, **PROTOCOL | {"seed": 1})["infonce"] != ours["infonce"]


def test_the_losses_are_those_of_numpy():
    """InfoNCE over anchors with batch statistics, reconstruction over the pixels of the masked patches."""
    subject, rng = method("can", sigma_embedding=False), np.random.default_rng(0)
    batch = jnp.asarray(rng.integers(0, 256, (5, 14, 14, 3), np.uint8))
    patches, order = final_losses.masked_views(
        batch, PROTOCOL["augment"], subject.config.patch_size, jax.random.key(0), jax.random.key(1)
    )
    assert patches.shape == (10, 4, 147)
    found = subject.comparable_losses(Shown(shuffle(patches, order), order, 2, 0.2, jax.random.key(2)))

    places = order[:, :2]
    tokens = subject.encoder(jnp.take_along_axis(patches, places[:, :, None], axis=1), places)
    x = np.asarray(tokens, np.float64).mean(axis=1)
    for hidden in subject.head.hidden:
        x = x @ np.asarray(hidden.kernel[...])
        x = np.maximum((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), 0)
    u = x @ np.asarray(subject.head.out.kernel[...]) + np.asarray(subject.head.out.bias[...])
    u = (u / np.linalg.norm(u, axis=1, keepdims=True)).reshape(2, 5, -1)
    np.testing.assert_allclose(found["infonce"], info_nce_by_hand(u, 0.2), rtol=1e-4)

    predicted = np.empty(patches.shape)
    in_order = np.asarray(subject.decoder(tokens, order), np.float64)
    squared, count = 0.0, 0
    for row in range(10):
        predicted[row, order[row]] = in_order[row]  # back in their places
        for token in set(range(4)) - set(np.asarray(order[row, :2]).tolist()):
            squared += np.sum((predicted[row, token] - np.asarray(patches[row, token])) ** 2)
            count += 147
    assert count == 10 * 2 * 147
    np.testing.assert_allclose(found["reconstruct"], squared / count, rtol=1e-5)


def test_denoising_is_scored_with_noise_that_the_decoder_is_told_of(images):
    """A decoder that predicts zero scores the mean of sigma^2, which is sigma_max^2 / 3."""
    subject = method("can", sigma_max=0.5)
    subject.decoder.predict.kernel[...] = jnp.zeros_like(subject.decoder.predict.kernel[...])
    found = evaluate(subject, images, **PROTOCOL | {"batch_size": 20})
    np.testing.assert_allclose(found["denoise"], 0.5**2 / 3, rtol=0.3)


def test_a_trained_method_is_loaded_whole(images, tmp_path):
    """The losses of what was saved, not of how it began."""
    config = tiny_config("can", total_steps=2)
    run = RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", "run")
    state = train.pretrain(config, run, images)
    loaded = trained.load_method(config, run)
    graphdef, _ = training_step.abstract_state(config)
    left = nnx.merge(graphdef, state.params, state.batch_stats)
    for a, b in zip(*(jax.tree.leaves(nnx.state(m)) for m in (loaded, left)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert evaluate(loaded, images, **PROTOCOL) == evaluate(left, images, **PROTOCOL)
    assert evaluate(loaded, images, **PROTOCOL) != evaluate(training_step.new_method(config), images, **PROTOCOL)


def test_too_few_images_and_a_mask_of_everything_are_refused(images):
    with pytest.raises(DataError, match="2 images or more"):
        evaluate(method("can"), images, **PROTOCOL | {"batch_size": 1})
    with pytest.raises(ConfigError, match="mask_rate"):
        evaluate(method("can"), images, **PROTOCOL | {"mask_rate": 1.0})
