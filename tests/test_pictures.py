"""What CAN makes of test images: the numbers and the pictures, for decoders whose answers are known."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_train import tiny_config

from can import data, keys, training_step
from can.augment import IMAGENET_MEAN, IMAGENET_STD
from can.commands.evaluations import EVALS
from can.commands.scales import SCALES
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.config import AugmentConfig
from can.errors import ConfigError, DataError
from can.evals import pictures
from can.evals.final_losses import masked_views
from can.evals.pictures import Pictures, visible_of
from can.methods import settings_class

PROTOCOL = dict(augment=AugmentConfig(crop_area_min=0.3), shares=(0.0, 0.5, 2.0), count=8, shown=2, seed=0)


def can(**settings):
    return training_step.new_method(dataclasses.replace(tiny_config(), method=settings_class("can")(**settings)))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return data.load("smoke", "test[:20]", data_dir=tmp_path_factory.mktemp("data"))


def drawn(method, images):
    """The patches, their order and the noise that an evaluation draws."""
    shown = next(iter(data.eval_batches(images, batch_size=8, image_size=method.config.image_size)))["image"]
    augment_key, mask_key = keys.key(0, "pictures views"), keys.key(0, "pictures masks")
    patches, order = masked_views(
        jnp.asarray(shown), PROTOCOL["augment"], method.config.patch_size, augment_key, mask_key
    )
    shuffled = np.take_along_axis(np.asarray(patches), np.asarray(order)[:, :, None], axis=1)
    return (
        shuffled,
        np.asarray(order),
        np.asarray(jax.random.normal(keys.key(0, "pictures noise"), shuffled[:, : method.num_visible].shape)),
    )


def test_the_numbers_are_those_of_the_encoder_and_decoder_by_hand(images):
    method = can(sigma_max=0.2)
    found, _ = pictures.evaluate(method, images, **PROTOCOL)
    assert found.pop("n") == 8
    shuffled, order, epsilon = drawn(method, images)
    visible, expected = method.num_visible, {}
    for share in PROTOCOL["shares"]:
        sigma = share * 0.2
        tokens = method.encoder(jnp.asarray(shuffled[:, :visible] + sigma * epsilon), jnp.asarray(order[:, :visible]))
        output = np.asarray(method.decoder(tokens, jnp.asarray(order), jnp.full(16, sigma)), float)
        error = shuffled[:, visible:] - output[:, visible:]
        expected[f"sigma{share:g}/reconstruct"] = (error**2).mean()
        if share:
            a, b = epsilon.astype(float).ravel(), output[:, :visible].ravel()
            a, b = a - a.mean(), b - b.mean()
            expected[f"sigma{share:g}/noise_correlation"] = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("target", ["sigma_eps", "eps"])
def test_of_a_decoder_that_knows_everything_the_reconstruction_is_the_view_and_the_noise_is_the_noise(
    images, monkeypatch, target
):
    method = can(denoise_target=target, sigma_max=0.05)
    shuffled, order, epsilon = drawn(method, images)

    def oracle(graphdef, state, patches, order, epsilon, sigma):
        told = np.asarray(epsilon) * (sigma if target == "sigma_eps" else 1)
        return np.concatenate([told, shuffled[:, method.num_visible :]], axis=1)

    monkeypatch.setattr(pictures, "_decoded", oracle)
    found, shown = pictures.evaluate(method, images, **PROTOCOL)
    assert found["sigma0.5/noise_correlation"] == pytest.approx(1)
    assert found["sigma2/reconstruct"] == found["sigma0/reconstruct"] == 0
    assert (shown.reconstructed == shown.views).all()
    assert shown.shares.tolist() == [0.5, 2.0]
    assert np.abs(shown.predicted.astype(int) - shown.noise).max() <= 1  # a rounding

    # The first patch that the encoder sees of the first view of the first image, found in the picture by its place.
    patch, row, column = method.config.patch_size, *divmod(order[0, 0], round(order.shape[1] ** 0.5))
    place = np.s_[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
    pixels = shuffled[0, 0].reshape(patch, patch, 3) * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)
    assert np.abs(shown.views[0, 0][place] - 255.0 * np.clip(pixels, 0, 1)).max() <= 0.51
    expected = np.clip(epsilon[0, 0].reshape(patch, patch, 3) / 4 * 127, -127, 127)
    assert np.abs(shown.noise[place] - expected).max() <= 0.51
    seen = visible_of(shown, patch)
    assert seen[0, 0][place].all() and not shown.noise[~seen[0, 0]].any()
    assert seen.mean() == pytest.approx(method.num_visible / order.shape[1])
    assert (shown.noisy == shown.views)[~seen].all() and not (shown.noisy == shown.views)[seen].all()


def test_the_pictures_are_kept_small_and_read_as_they_were_written(images, tmp_path):
    _, shown = pictures.evaluate(can(), images, **PROTOCOL)
    shown.write(tmp_path / "a.npz")
    shown.write(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").stat().st_size < 200_000
    for ours, theirs in zip(Pictures.read(tmp_path / "a.npz"), shown, strict=True):
        assert (ours == theirs).all()
    (tmp_path / "a.npz").write_bytes(b"PK")
    for name in ("a.npz", "missing.npz"):
        with pytest.raises(DataError, match="make it with --force=pictures"):
            Pictures.read(tmp_path / name)


@pytest.mark.parametrize("lacks", [dict(sigma_max=0.0), dict(mask_rate=0.0), dict(norm_pix=True)])
def test_a_run_without_noise_masks_or_pixels_is_refused(images, lacks):
    with pytest.raises(ConfigError, match="pictures need noise"):
        pictures.evaluate(can(**lacks), images, **PROTOCOL)


def test_other_methods_are_refused_before_anything_is_read(tmp_path):
    here = Setting(SCALES["smoke"], results_dir=tmp_path, workdir=tmp_path, data_dir=tmp_path)
    with pytest.raises(ConfigError, match="not simclr: pass --method=can"):
        EVALS["pictures"].protocol(here, here.run(Spec("simclr", "vit_l", "jft", 800), 0))
