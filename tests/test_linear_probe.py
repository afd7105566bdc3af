"""The linear probe against scikit-learn, numpy and itself: one classifier, two ways to its features."""

from __future__ import annotations

import dataclasses
import hashlib
from itertools import islice

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.preprocessing import StandardScaler

import can.evals.encoder
import can.evals.linear_probe
from can.augment import eval_view
from can.commands.evaluations import EVALS
from can.commands.scales import SCALES
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.config import LinearProbeConfig, ModelConfig
from can.data import ArrayImages, EncodedImages
from can.errors import ConfigError, UserError
from can.evals import linear_probe
from can.evals.encoder import Encoder, extract_features
from can.evals.linear_probe import (
    Classifier,
    accuracy,
    evaluate,
    resolve_schedule,
)
from can.evals.probe_progress import Kept
from can.evals.probe_rounds import cached_rounds, streamed_rounds
from can.models import ViT, model_config
from can.runs import progress_line


class Pixels(nnx.Module):
    """The features of an image are its pixels, scaled by the one parameter."""

    def __init__(self, scale: float = 1.0):
        self.scale = nnx.Param(jnp.float32(scale))

    def features(self, views: jax.Array) -> jax.Array:
        return self.scale[...] * views.reshape(len(views), -1)


def pixel_encoder(image_size: int, batch_size: int = 256, scale: float = 1.0) -> Encoder:
    return Encoder(*nnx.split(Pixels(scale)), image_size, image_size**2 * 3, batch_size)


def image_set(images: np.ndarray, labels: np.ndarray, num_classes: int, name: str = "images") -> ArrayImages:
    fingerprint = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return ArrayImages(name, "all", num_classes, (), fingerprint, images, labels.astype(np.int32))


def digits() -> tuple[ArrayImages, ArrayImages]:
    images, labels = load_digits(return_X_y=True)
    images = np.repeat((images * 15).astype(np.uint8).reshape(-1, 8, 8, 1), 3, axis=3)
    return image_set(images[:1200], labels[:1200], 10), image_set(images[1200:], labels[1200:], 10)


def plain_colors(n: int, seed: int, size: int = 6) -> ArrayImages:
    """Images of one colour each, red, green or blue at random brightness: every crop of one is the same image."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    colors = rng.integers(0, 40, (n, 3))
    colors[np.arange(n), labels] += rng.integers(100, 215, n)
    images = np.broadcast_to(colors[:, None, None].astype(np.uint8), (n, size, size, 3))
    return image_set(images, labels, 3)


# LARS moves a matrix by a share of its norm, so that short trainings need high rates.
CACHED = LinearProbeConfig(batch_size=256, epochs=40, warmup_epochs=4, base_lr=10.0, cache_features=True)
COLORS = dataclasses.replace(CACHED, base_lr=30.0, epochs=20, warmup_epochs=2)


# Accuracy


def numbers(found):
    """What an evaluation returned, without which images were right."""
    return {metric: value for metric, value in found.items() if metric != "correct"}


def test_digits_are_classified_as_well_as_by_logistic_regression():
    train, test = digits()
    metrics = evaluate(pixel_encoder(8), train, test, CACHED, seed=0)
    scaler = StandardScaler().fit(train.images[..., 0].reshape(len(train), -1))
    scaled = [scaler.transform(images[..., 0].reshape(len(images), -1)) for images in (train.images, test.images)]
    reference = LogisticRegression(max_iter=1000).fit(scaled[0], train.labels).score(scaled[1], test.labels)
    assert reference > 0.88
    assert metrics["top1"] == pytest.approx(reference, abs=0.02)
    assert metrics["top1"] < metrics["top5"] < 1.0
    assert metrics["n"] == 597
    assert metrics["chance"] == max(np.mean(test.labels == label) for label in range(10))


def test_accuracies_equal_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(57, 12)).astype(np.float32), rng.integers(0, 12, 57)
    classifier = Classifier(12, 12, rngs=nnx.Rngs(0))  # its running mean is 0 and its variance 1
    classifier.linear.kernel[...] = jnp.eye(12)
    expected = {f"top{k}": top_k_accuracy_score(labels, logits, k=k, labels=range(12)) for k in (1, 5)}
    found = accuracy(classifier, logits, labels)
    np.testing.assert_array_equal(found.pop("correct"), logits.argmax(axis=1) == labels)
    assert found == pytest.approx(expected)


def test_every_test_image_counts_once_also_behind_the_last_full_batch():
    train, test = plain_colors(48, seed=0), plain_colors(11, seed=1)
    encoder = pixel_encoder(6, batch_size=4)
    assert evaluate(encoder, train, test, COLORS, seed=0)["top1"] == 1.0
    labels = test.labels.copy()
    labels[-1] = (labels[-1] + 1) % 3
    metrics = evaluate(encoder, train, dataclasses.replace(test, labels=labels, fingerprint="0"), COLORS, seed=0)
    assert metrics["top1"] == pytest.approx(10 / 11)
    assert metrics["n"] == 11
    assert "top5" not in metrics  # of three classes


# The classifier's training


def test_batch_norm_normalises_and_remembers_as_numpy_does():
    classifier = Classifier(5, 2, rngs=nnx.Rngs(0))
    kernel = np.asarray(classifier.linear.kernel[...])
    rng = np.random.default_rng(0)
    mean, var = np.zeros(5), np.ones(5)
    for _ in range(3):
        x = 1e3 + rng.normal(size=(64, 5)) * [1e-1, 1, 10, 1, 1]  # a large mean: the variance must not cancel
        x = x.astype(np.float32)
        mean, var = 0.9 * mean + 0.1 * x.mean(0, np.float64), 0.9 * var + 0.1 * x.var(0, dtype=np.float64)
        expected = (x - x.mean(0, np.float64)) / np.sqrt(x.var(0, dtype=np.float64) + 1e-6) @ kernel
        np.testing.assert_allclose(classifier(jnp.asarray(x), train=True), expected, atol=1e-4)
    np.testing.assert_allclose(classifier.norm.mean[...], mean, rtol=1e-5)
    np.testing.assert_allclose(classifier.norm.var[...], var, rtol=1e-3)
    np.testing.assert_allclose(
        classifier(jnp.asarray(x), train=False), (x - mean) / np.sqrt(var + 1e-6) @ kernel, atol=1e-2
    )
    assert {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(classifier, nnx.Param))} == {
        "linear.bias",
        "linear.kernel",
    }


def numpy_probe_loss(x: np.ndarray, y: np.ndarray, kernel: np.ndarray, rates: list[float]) -> float:
    """The loss before the last update of a whole-batch probe: BatchNorm, softmax, LARS as He et al. have them."""
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6)
    bias, targets = np.zeros(kernel.shape[1]), np.eye(kernel.shape[1])[y]
    kernel_buffer, bias_buffer = np.zeros_like(kernel), np.zeros_like(bias)
    for rate in rates:
        logits = x @ kernel + bias
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        loss = -np.log((p * targets).sum(1)).mean()
        kernel_grad, bias_grad = x.T @ (p - targets) / len(x), (p - targets).mean(0)
        trust = 0.001 * np.linalg.norm(kernel) / np.linalg.norm(kernel_grad)
        kernel_buffer, bias_buffer = 0.9 * kernel_buffer + trust * kernel_grad, 0.9 * bias_buffer + bias_grad
        kernel, bias = kernel - rate * kernel_buffer, bias - rate * bias_buffer
    return loss


def test_training_follows_a_numpy_version_step_by_step(monkeypatch):
    train, test = digits()
    kernel = np.random.default_rng(0).normal(0, 0.1, (192, 10))

    class Known(Classifier):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.linear.kernel[...] = jnp.asarray(kernel, jnp.float32)

    monkeypatch.setattr(linear_probe, "Classifier", Known)
    config = dataclasses.replace(CACHED, batch_size=10**6, epochs=8, warmup_epochs=2, base_lr=5.0)
    metrics = evaluate(pixel_encoder(8), train, test, config, seed=3)
    schedule = resolve_schedule(config, len(train))
    assert (schedule.batch_size, schedule.steps_per_epoch, schedule.stop) == (1200, 1, 8)
    x = np.asarray(eval_view(jnp.asarray(train.images)), np.float64).reshape(1200, -1)
    expected = numpy_probe_loss(x, train.labels, kernel, [schedule.learning_rate(step) for step in range(8)])
    assert metrics["loss"] == pytest.approx(expected, rel=1e-4)
    assert metrics["loss"] < 0.9 * np.log(10)


def test_classifier_starts_at_he_et_al_s_initialisation():
    classifier = Classifier(400, 100, rngs=nnx.Rngs(0))
    assert float(classifier.linear.kernel[...].std()) == pytest.approx(0.01, rel=0.02)
    assert not classifier.linear.bias[...].any()


def test_a_seed_repeats_itself_to_the_bit_and_another_differs():
    train, test = digits()
    config = dataclasses.replace(CACHED, epochs=5, warmup_epochs=0)
    first, again, other = (evaluate(pixel_encoder(8), train, test, config, seed=seed) for seed in (0, 0, 1))
    assert numbers(first) == numbers(again)
    np.testing.assert_array_equal(first["correct"], again["correct"])
    assert first["loss"] != other["loss"]


def test_the_paper_s_schedule_on_imagenet():
    schedule = resolve_schedule(LinearProbeConfig(), num_images=1281167)
    assert (schedule.batch_size, schedule.steps_per_epoch, schedule.stop) == (16384, 78, 7800)
    assert schedule.learning_rate(780) == pytest.approx(6.4)
    assert schedule.learning_rate(390) == pytest.approx(3.2)
    assert schedule.learning_rate(7800) == 0.0


def test_a_batch_beyond_the_training_set_shrinks_and_the_learning_rate_with_it():
    schedule = resolve_schedule(LinearProbeConfig(base_lr=0.1, epochs=10, warmup_epochs=1), num_images=512)
    assert (schedule.batch_size, schedule.stop) == (512, 10)
    assert schedule.learning_rate(1) == pytest.approx(0.2)


def test_a_small_set_is_trained_for_as_many_steps_as_cifar10_whose_own_stay_the_same():
    """10,000 images had 360 steps, and lost one or two points to a logistic regression."""
    for scale in ("laptop", "evening", "overnight"):
        probe = SCALES[scale].linear_probe
        for images, per_epoch in ((10_000, 9), (50_000, 48), (500, 1)):
            schedule = resolve_schedule(probe, images)
            assert (schedule.stop, schedule.steps_per_epoch) == (1920, per_epoch)
            assert schedule.learning_rate(192) == pytest.approx(4 * schedule.batch_size / 256)  # a tenth is warm-up
        before = dataclasses.replace(probe, epoch_images=0)
        for images in (50_000, 120_000):
            rates = [
                [found.learning_rate(step) for step in range(0, found.stop, 97)]
                for found in (resolve_schedule(probe, images), resolve_schedule(before, images))
            ]
            assert rates[0] == rates[1]
    assert resolve_schedule(dataclasses.replace(probe, epochs=5), 10_000).stop == 240


def test_the_protocol_says_how_small_sets_are_trained_on_where_it_can_matter(tmp_path):
    setting = Setting(SCALES["laptop"], results_dir=tmp_path, workdir=tmp_path, data_dir=tmp_path)
    run = setting.run(Spec("random", "vit_b", "jft", 0), 0)

    def stated(setting):
        return EVALS["linear_probe"].protocol(setting, run).get("epoch_images")

    assert stated(setting) is None  # published before the field came
    assert stated(dataclasses.replace(setting, train_split="train[:10000]")) == 50_000
    probe = dataclasses.replace(SCALES["laptop"].linear_probe, epoch_images=0)
    for_trials = dataclasses.replace(setting.scale, linear_probe=probe)
    assert stated(dataclasses.replace(setting, scale=for_trials, train_split="train[:40000]")) is None


# The two ways to the features


@pytest.mark.parametrize("batch_size", [7, 64])
def test_streamed_and_cached_training_agree_where_augmentation_changes_nothing(batch_size: int):
    train, test = plain_colors(40, seed=0), plain_colors(11, seed=1)
    encoder = pixel_encoder(6, batch_size)
    cached = evaluate(encoder, train, test, COLORS, seed=0)  # whole-batch: the order does not matter
    streamed = evaluate(encoder, train, test, dataclasses.replace(COLORS, cache_features=False), seed=0)
    assert cached["loss"] < 1.0  # it has learned something: chance is ln 3, 1.099
    assert numbers(streamed) == pytest.approx(numbers(cached), rel=1e-4)


def test_cached_rounds_hold_each_image_at_most_once_in_a_new_order():
    train = plain_colors(23, seed=0)
    rounds = list(islice(cached_rounds(pixel_encoder(6), train, batch_size=5, seed=0, cache_dir=None), 3))
    for round_ in rounds:
        assert round_.order.shape == (4, 5)  # the ragged last batch is dropped
        assert len(set(round_.order.ravel())) == 20
        np.testing.assert_array_equal(round_.labels, train.labels)
    assert len({round_.order.tobytes() for round_ in rounds}) == 3


def test_streamed_rounds_do_not_depend_on_how_many_images_are_encoded_at_once():
    train = plain_colors(23, seed=0)
    few, all_at_once = (
        list(islice(streamed_rounds(pixel_encoder(6, batch_size), train, batch_size=40, seed=1), 3))
        for batch_size in (7, 64)
    )
    for ours, theirs in zip(few, all_at_once, strict=True):
        np.testing.assert_array_equal(ours.order, np.arange(40)[None])
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.features, theirs.features, atol=1e-5)


def test_streamed_images_are_augmented_anew_each_epoch():
    train, _ = digits()
    train = image_set(train.images[:1], train.labels[:1], 10)
    first, second = islice(streamed_rounds(pixel_encoder(8), train, batch_size=1, seed=0), 2)
    plain = np.asarray(eval_view(jnp.asarray(train.images))).reshape(1, -1)
    assert np.abs(first.features - second.features).max() > 0.1
    assert np.abs(first.features - plain).max() > 0.1


def test_a_step_of_many_images_shows_how_far_it_is(monkeypatch, capsys):
    """The paper's batch of 300 photographs showed nothing for ten minutes."""
    monkeypatch.setattr(progress_line, "QUIET_INTERVAL_S", 0.0)
    config = dataclasses.replace(COLORS, cache_features=False, batch_size=40, epochs=1, warmup_epochs=0)
    evaluate(pixel_encoder(6, 10), plain_colors(40, seed=0), plain_colors(11, seed=1), config, seed=1)
    shown = capsys.readouterr().err
    assert all(f"linear probe: image {count}/40" in shown for count in (10, 20, 30, 40))
    assert "features of" in shown


def stopped_and_gone_on(monkeypatch, folder, config, sets, encoder):
    """A probe that was stopped in its fifth step, behind the checkpoint of the fourth, and then finished."""
    begun, kept, make = [], Kept(folder, every_steps=2), linear_probe.streamed_rounds

    def rounds(*arguments, **told):
        begun.append(arguments[-1])
        return make(*arguments, **told)

    def stop(step, _):
        if step == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(linear_probe, "streamed_rounds", rounds)
    with pytest.raises(KeyboardInterrupt):
        evaluate(encoder, *sets, config, seed=1, kept=kept, log=stop)
    found = evaluate(encoder, *sets, config, seed=1, kept=kept)
    assert begun == [0, 4]
    return found


def test_a_stopped_streamed_probe_goes_on_and_ends_with_the_same_numbers_to_the_bit(tmp_path, monkeypatch):
    """A step takes images of several forward passes, and leaves some of the last one to the next."""
    at_once, sets = 7, (plain_colors(40, seed=0), plain_colors(11, seed=1))
    config = dataclasses.replace(COLORS, cache_features=False, batch_size=20, epochs=4, warmup_epochs=1)
    whole = evaluate(pixel_encoder(6, at_once), *sets, config, seed=1)
    resumed = stopped_and_gone_on(monkeypatch, tmp_path, config, sets, pixel_encoder(6, at_once))
    assert numbers(resumed) == numbers(whole)
    np.testing.assert_array_equal(resumed["correct"], whole["correct"])
    logged: list[int] = []
    again = evaluate(
        *(pixel_encoder(6, at_once), *sets, config),
        seed=1,
        kept=Kept(tmp_path, every_steps=2),
        log=lambda step, _: logged.append(step),
    )
    assert numbers(again) == numbers(whole)
    assert logged == []  # its last step is there


def test_a_stopped_streamed_probe_is_not_gone_on_with_as_another_one(tmp_path):
    sets = plain_colors(40, seed=0), plain_colors(11, seed=1)
    config = dataclasses.replace(COLORS, cache_features=False, batch_size=20, epochs=1, warmup_epochs=0)
    kept = Kept(tmp_path, every_steps=1)
    evaluate(pixel_encoder(6), *sets, config, seed=0, kept=kept)
    others = {
        "base_lr: 30.0 there, 1.0 now": (pixel_encoder(6), dataclasses.replace(config, base_lr=1.0), 0),
        "seed: 0 there, 1 now": (pixel_encoder(6), config, 1),
        "images_encoded_at_once: 20 there, 7 now": (pixel_encoder(6, 7), config, 0),
        "encoder: ": (pixel_encoder(6, scale=2.0), config, 0),
    }
    for said, (encoder, asked, seed) in others.items():
        with pytest.raises(ConfigError, match=f"holds a linear probe with other settings .*{said}.*pass --force"):
            evaluate(encoder, *sets, asked, seed=seed, kept=kept)


class Pngs:
    """Encoded images as records."""

    def __init__(self, images: ArrayImages):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        return cv2.imencode(".png", self.images.images[index][..., ::-1])[1].tobytes(), int(self.images.labels[index])

    def label(self, index: int) -> int:
        return int(self.images.labels[index])

    def describe(self, index: int) -> str:
        return f"png {index}"


def test_encoded_images_are_cropped_on_the_host_and_probed_as_arrays_are():
    train, test = plain_colors(40, seed=0, size=20), plain_colors(11, seed=1, size=20)
    encoded = [EncodedImages("pngs", "all", 3, (), name, Pngs(s)) for name, s in (("a", train), ("b", test))]
    config = dataclasses.replace(COLORS, cache_features=False, epochs=6)
    from_arrays = evaluate(pixel_encoder(6), train, test, config, seed=0)
    from_encoded = evaluate(pixel_encoder(6), *encoded, config, seed=0)
    assert numbers(from_encoded) == pytest.approx(numbers(from_arrays), rel=1e-4)


# The encoder and its cache


def test_features_are_those_of_the_model():
    model = ViT(model_config("nano", 8, patch_size=4, width=8, heads=2, mlp_dim=16, depth=2), rngs=nnx.Rngs(0))
    train, _ = digits()
    train = image_set(train.images[:10], train.labels[:10], 10)
    features, labels = extract_features(Encoder.from_model(model, batch_size=4), train)
    expected = jax.jit(lambda images: model.features(eval_view(images)))(train.images)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_array_equal(labels, train.labels)
    assert features.std(axis=0).min() > 0


def tiny_vit(seed: int = 0, **overrides) -> ViT:
    config = model_config("nano", 8, **(dict(patch_size=4, width=8, heads=2, mlp_dim=16, depth=2) | overrides))
    return ViT(config, rngs=nnx.Rngs(seed))


def test_fingerprints_tell_apart_what_changes_features_and_nothing_else():
    """Heads and the type of the computation change features, but no parameter; a head changes neither."""
    reference = Encoder.from_model(tiny_vit())
    changes = dict(patch_size=8, width=16, heads=4, mlp_dim=32, depth=1, cls_token=True, dtype="bfloat16")
    same = dict(remat="block", scan_unroll=2, head_width=8, head_depth=1, head_out=4, mask_token="decoder")
    same |= dict(decoder_width=8, decoder_depth=1, decoder_heads=2, decoder_mlp_dim=8, size="other")
    known = {"image_size", *changes, *same}
    assert known == {field.name for field in dataclasses.fields(ModelConfig)}, "say of a new field what it changes"
    others = [Encoder.from_model(tiny_vit(**{name: value})) for name, value in changes.items()]
    others += [Encoder.from_model(tiny_vit(seed=1)), reference.at_size(16)]
    assert len({reference.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
    for name, value in same.items():
        config = dataclasses.replace(tiny_vit().config, **{name: value})
        assert Encoder.from_model(ViT(config, rngs=nnx.Rngs(0))).fingerprint == reference.fingerprint, name


def test_cached_features_spare_the_encoder(tmp_path, monkeypatch):
    train, _ = digits()
    features, labels = extract_features(pixel_encoder(8), train, cache_dir=tmp_path)
    monkeypatch.setattr(can.evals.encoder, "eval_batches_on", lambda *_, **__: pytest.fail("encoded again"))
    again, labels_again = extract_features(pixel_encoder(8), train, cache_dir=tmp_path)
    np.testing.assert_array_equal(again, features)
    np.testing.assert_array_equal(labels_again, labels)


def test_another_encoder_or_data_set_does_not_get_the_cached_features(tmp_path):
    train, test = digits()
    features, _ = extract_features(pixel_encoder(8), train, cache_dir=tmp_path)
    doubled, _ = extract_features(pixel_encoder(8, scale=2.0), train, cache_dir=tmp_path)
    np.testing.assert_allclose(doubled, 2 * features, rtol=1e-6)
    others, _ = extract_features(pixel_encoder(8), test, cache_dir=tmp_path)
    assert len(others) == len(test)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_cache_file_is_made_again(tmp_path):
    train, _ = digits()
    features, _ = extract_features(pixel_encoder(8), train, cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again, _ = extract_features(pixel_encoder(8), train, cache_dir=tmp_path)
    np.testing.assert_array_equal(again, features)
    assert len(file.read_bytes()) == len(whole)


# What a caller sees


def test_max_steps_stops_early_within_the_same_schedule():
    train, test = digits()
    steps: list[int] = []
    config = dataclasses.replace(CACHED, max_steps=6)  # four steps an epoch
    evaluate(pixel_encoder(8), train, test, config, seed=0, log=lambda step, _: steps.append(step))
    assert steps == [4, 6]
    schedule = resolve_schedule(config, len(train))
    assert schedule.learning_rate(5) == pytest.approx(10 * 5 / 16)  # still in the four warm-up epochs


def test_a_loss_that_is_not_finite_stops_with_its_step():
    train, test = digits()
    with pytest.raises(
        UserError, match=r"loss became (nan|inf) at step \d+ of 160: lower its base_lr, which is 1e\+30"
    ):
        evaluate(pixel_encoder(8), train, test, dataclasses.replace(CACHED, base_lr=1e30), seed=0)


def test_features_that_are_not_finite_stop_before_training():
    train, test = digits()
    with pytest.raises(UserError, match="features of images are not finite"):
        evaluate(pixel_encoder(8, scale=float("nan")), train, test, CACHED, seed=0)


def test_a_warmup_beyond_the_training_is_refused():
    with pytest.raises(ConfigError, match="warmup_epochs 10 exceed the linear probe's 5 epochs"):
        resolve_schedule(LinearProbeConfig(epochs=5), num_images=10**6)
