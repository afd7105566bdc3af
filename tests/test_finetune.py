"""Finetuning: what it trains and how fast each layer learns, what it counts, and that a kill changes no number."""

from __future__ import annotations

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import can.evals.finetune as finetuning
import can.evals.finetune_step as finetune_step
from can.augment import eval_view
from can.commands import scales
from can.config import FinetuneConfig
from can.data import ArrayImages
from can.errors import ConfigError, UserError
from can.evals.finetune import FinetunedViT, _has_curve, evaluate, load_finetuned
from can.models import ViT, model_config
from can.optim import learning_rate_schedule
from can.runs.checkpoint import Checkpoints
from can.views import patchify

MODEL = model_config("nano", 14, width=32, heads=2, depth=2, mlp_dim=64)
PLAIN = FinetuneConfig(
    base_lr=4e-3,
    batch_size=64,
    epochs=3,
    warmup_epochs=0.5,
    weight_decay=0.0,
    drop_path=0.0,
    label_smoothing=0.0,
    rand_augment_layers=0,
    erase_prob=0.0,
    crop_area_min=0.5,
)
FULL = FinetuneConfig(base_lr=1e-3, batch_size=32, epochs=3, warmup_epochs=1, mixup=0.8, cutmix=1.0)


def stripes(n: int, seed: int, classes: int = 2) -> ArrayImages:
    """Grey images whose label is the coarseness of their stripes: the channels and the mean say nothing."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % classes).astype(np.int32)
    columns = np.arange(14)[None] // (1 + 2 * labels[:, None]) % 2
    images = np.where(columns[:, None, :, None], 200, 40) + rng.integers(-30, 30, (n, 14, 14, 1))
    images = np.repeat(images, 3, axis=3).astype(np.uint8)
    return ArrayImages(f"stripes{seed}", "all", classes, (), f"{n} {seed} {classes}", images, labels)


def assert_same(ours, theirs):
    """Two finetunings' results, to the bit."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], strict=True)


def encoder(seed: int = 0) -> ViT:
    return ViT(MODEL, rngs=nnx.Rngs(seed))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One finetuning with everything on, never interrupted: its numbers, its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return evaluate(encoder(), stripes(96, 0), stripes(23, 1), FULL, seed=1, work_dir=folder), folder


def test_it_learns_and_counts_every_test_image_once(tmp_path):
    """23 test images fill no batch; a wrong label among them costs exactly one."""
    test = stripes(23, 1)
    found = evaluate(encoder(), stripes(512, 0), test, PLAIN, seed=0, work_dir=tmp_path)
    assert found["top1"] == found["top1_best"] == 1.0
    assert found["loss"] < 0.65 < np.log(2)  # a mean over the last epoch, of a classifier that started at 0
    assert found["n"] == 23
    assert "top5" not in found  # of two classes
    model = load_finetuned(encoder(5), 2, tmp_path)
    logits = model.logits(eval_view(jnp.asarray(test.images)))
    np.testing.assert_array_equal(np.argmax(logits, axis=-1), test.labels)
    graphdef, params = nnx.split(model)
    wrong = dataclasses.replace(test, labels=np.where(np.arange(23) == 22, 1 - test.labels, test.labels))
    found = finetuning.accuracy(graphdef, params, wrong, 14, finetuning.make_mesh())
    assert found["top1"] == pytest.approx(22 / 23)
    np.testing.assert_array_equal(found["correct"], np.arange(23) < 22)


def test_an_interrupted_finetuning_ends_with_the_same_numbers(trained, tmp_path, monkeypatch):
    """Stopped in the third epoch: it goes on after the second and repeats no other."""
    whole, whole_folder = trained
    check, calls = finetuning._check_finite, []

    def killed(losses, done, optim):
        if done > 6:
            raise KeyboardInterrupt
        calls.append(done)
        return check(losses, done, optim)

    sets = stripes(96, 0), stripes(23, 1)
    monkeypatch.setattr(finetuning, "_check_finite", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(encoder(), *sets, FULL, seed=1, work_dir=tmp_path)
    with pytest.raises(UserError, match="stopped at step 6 of 9"):
        load_finetuned(encoder(), 2, tmp_path)
    monkeypatch.setattr(finetuning, "_check_finite", check)
    logged = []
    resumed = evaluate(encoder(), *sets, FULL, seed=1, work_dir=tmp_path, log=lambda step, row: logged.append(step))
    assert calls == [3, 6]
    assert logged == [9]
    assert_same(resumed, whole)
    assert (tmp_path / "curve.csv").read_bytes() == (whole_folder / "curve.csv").read_bytes()
    ours, theirs = (nnx.state(load_finetuned(encoder(), 2, folder)) for folder in (tmp_path, whole_folder))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_finished_finetuning_is_read_and_not_repeated(trained):
    whole, folder = trained
    logged = []
    sets = stripes(96, 0), stripes(23, 1)
    again = evaluate(encoder(), *sets, FULL, seed=1, work_dir=folder, log=lambda step, row: logged.append(step))
    assert_same(again, whole)
    assert logged == []


@pytest.mark.parametrize("harm", ["a digit", "lost", "an earlier row", "nobody vouches"])
def test_a_curve_that_was_changed_after_it_was_measured_is_not_what_numbers_are_made_of(trained, tmp_path, harm):
    whole, folder = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    curve = copy / "curve.csv"
    text = curve.read_text()
    if harm == "lost":
        curve.unlink()
    elif harm == "an earlier row":
        header, first, *rest = text.splitlines(keepends=True)
        curve.write_text("".join([header, first.rpartition(",")[0] + ",1\n", *rest]))
    else:
        curve.write_text(text[:-2] + str((int(text[-2]) + 1) % 10) + "\n")
    if harm == "nobody vouches":  # as in a checkpoint of an earlier version: made anew
        for step in (copy / "state").iterdir():
            sums = step / "SHA256SUMS"
            sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "  run/" not in line))
            shutil.rmtree(step / "run")
    logged = []
    sets = stripes(96, 0), stripes(23, 1)
    again = evaluate(encoder(), *sets, FULL, seed=1, work_dir=copy, log=lambda step, row: logged.append(step))
    assert_same(again, whole)
    assert curve.read_text() == text
    assert logged == ([3, 6, 9] if harm == "nobody vouches" else [])


def test_the_weights_of_another_finetuning_are_refused(trained, tmp_path):
    _, folder = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    settings = copy / "finetune.json"
    settings.write_text(settings.read_text().replace('"seed": 1', '"seed": 2'))
    with pytest.raises(UserError, match="9 is not this run's .seed is 1 there and 2 here"):
        load_finetuned(encoder(), 2, copy)


def test_other_settings_in_the_same_folder_are_refused(trained):
    _, folder = trained
    with pytest.raises(ConfigError, match=r"base_lr: 0\.001 there, 0\.002 now"):
        other = dataclasses.replace(FULL, base_lr=2e-3)
        evaluate(encoder(), stripes(96, 0), stripes(23, 1), other, seed=1, work_dir=folder)
    with pytest.raises(ConfigError, match="encoder"):
        evaluate(encoder(1), stripes(96, 0), stripes(23, 1), FULL, seed=1, work_dir=folder)


def test_a_missing_model_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no finetuned model in .*--eval=finetune"):
        load_finetuned(encoder(), 2, tmp_path)


def test_a_layers_first_step_is_its_share_of_the_learning_rate(tmp_path):
    """Adam's first step has size 1 wherever a gradient is, so that one step shows each layer's learning rate."""
    config = dataclasses.replace(PLAIN, layer_decay=0.5, warmup_epochs=0, max_steps=1)
    before = FinetunedViT(encoder(), 2, rngs=nnx.Rngs(0))
    evaluate(encoder(), stripes(64, 0), stripes(4, 1), config, seed=0, work_dir=tmp_path)
    after = load_finetuned(encoder(), 2, tmp_path)
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - np.asarray(b)), nnx.state(after), nnx.state(before))
    rate = config.base_lr * 64 / 256
    assert np.median(np.asarray(moved["head"]["bias"][...])) == pytest.approx(rate, rel=0.01)
    mlp = np.asarray(moved["encoder"]["transformer"]["blocks"]["mlp_out"]["kernel"][...])
    assert np.median(mlp[0]) == pytest.approx(rate * 0.5**2, rel=0.05)
    assert np.median(mlp[1]) == pytest.approx(rate * 0.5, rel=0.05)
    embedding = np.asarray(moved["encoder"]["patch_embed"]["kernel"][...])
    assert np.median(embedding) == pytest.approx(rate * 0.5**3, rel=0.05)


def test_the_classifier_starts_nearly_at_zero():
    head = FinetunedViT(encoder(), 10, rngs=nnx.Rngs(0)).head
    kernel = np.asarray(head.kernel[...])
    assert 0.5e-5 < kernel.std() < 3e-5
    assert np.abs(kernel).max() < 5e-5
    np.testing.assert_array_equal(head.bias[...], 0)


def test_a_diverging_loss_names_the_step(tmp_path):
    config = dataclasses.replace(PLAIN, base_lr=1e30, warmup_epochs=0)
    with pytest.raises(UserError, match=r"at step \d+ of 24: lower its base_lr"):
        evaluate(encoder(), stripes(512, 0), stripes(4, 1), config, seed=0, work_dir=tmp_path)


def test_a_gradient_that_is_not_finite_at_the_step_that_saves_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    """The loss of that step is finite; only the weights that it leaves are not."""
    make_step, loss_of = finetuning.make_train_step, finetune_step.soft_cross_entropy

    @jax.custom_vjp
    def with_gradient_times(factor, loss):
        return loss

    with_gradient_times.defvjp(lambda factor, loss: (loss, factor), lambda factor, grad: (0.0, factor * grad))

    def exploding(*arguments):
        step = make_step(*arguments)

        def train_step(state, *others):
            def loss(logits, targets):
                return with_gradient_times(jnp.where(state.step == 5, jnp.nan, 1.0), loss_of(logits, targets))

            with monkeypatch.context() as patch:  # while it is traced
                patch.setattr(finetune_step, "soft_cross_entropy", loss)
                return step(state, *others)

        return train_step

    monkeypatch.setattr(finetuning, "make_train_step", exploding)
    sets, config = (stripes(96, 0), stripes(23, 1)), dataclasses.replace(PLAIN, batch_size=32)
    with pytest.raises(UserError, match="gradient's norm became nan at step 6 of 9: lower its base_lr"):
        evaluate(encoder(), *sets, config, seed=1, work_dir=tmp_path)
    with pytest.raises(UserError, match="stopped at step 3 of 9"):  # an epoch has three steps
        load_finetuned(encoder(), 2, tmp_path)


def test_a_damaged_last_checkpoint_is_not_taken_for_the_finetuned_model_and_made_again(trained, tmp_path):
    whole, folder = trained
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = max((copy / "state" / "9").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(UserError, match="state/9 is damaged"):
        load_finetuned(encoder(), 2, copy)
    logged = []
    sets = stripes(96, 0), stripes(23, 1)
    again = evaluate(encoder(), *sets, FULL, seed=1, work_dir=copy, log=lambda step, row: logged.append(step))
    assert_same(again, whole)
    assert logged == [9]  # the third epoch alone
    assert (copy / "curve.csv").read_bytes() == (folder / "curve.csv").read_bytes()
    ours, theirs = (nnx.state(load_finetuned(encoder(), 2, folder)) for folder in (copy, folder))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_the_recipes_are_those_of_the_papers():
    scale = scales.scale_named("paper")
    paper = scale.finetune
    assert (paper.base_lr, paper.layer_decay, paper.weight_decay, paper.mixup) == (5e-4, 0.65, 0.005, 0)  # Table 9
    large = dataclasses.replace(paper, **scale.recipe("mae", "L"))
    assert (large.base_lr, large.layer_decay, large.epochs, large.drop_path) == (1e-3, 0.75, 50, 0.2)
    assert (large.weight_decay, large.mixup, large.cutmix) == (0.05, 0.8, 1.0)
    # main_finetune.py: --aa=rand-m9-mstd0.5-inc1, timm's Mixup in its mode "batch", --min_lr, --global_pool
    smoke = scales.scale_named("smoke")
    small = dataclasses.replace(smoke.finetune, **smoke.recipe("mae", "micro"))
    assert (small.weight_decay, small.mixup, small.cutmix, small.mix_share_of) == (0.05, 0.8, 1.0, "batch")
    assert (small.rand_augment_policy, small.rand_augment_std, small.last_lr) == ("timm", 0.5, 1e-6)
    assert small.norm_after_pool and not paper.norm_after_pool
    scratch = dataclasses.replace(paper, **scale.recipe("scratch", "L"))
    assert (scratch.layer_decay, scratch.mixup, scratch.base_lr) == (1.0, 0.8, 5e-4)


def test_he_et_als_own_recipe_pools_before_a_new_norm_and_trains():
    """The classifier sees a new layer norm of the mean of un-normed tokens; the encoder's last norm is left alone."""
    model = ViT(MODEL, rngs=nnx.Rngs(0))
    finetuned = FinetunedViT(nnx.clone(model), 3, norm_after_pool=True, rngs=nnx.Rngs(1))
    views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 14, 14, 3)), jnp.float32)
    tokens = model(patchify(views, model.config.patch_size), final_norm=False)
    mean = np.asarray(tokens, np.float64).mean(1)
    normed = (mean - mean.mean(-1, keepdims=True)) / np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
    expected = normed @ np.asarray(finetuned.head.kernel[...]) + np.asarray(finetuned.head.bias[...])
    np.testing.assert_allclose(finetuned.logits(views), expected, atol=1e-5)
    assert not np.allclose(model.features(views), mean, atol=1e-3)


def test_his_whole_recipe_is_one_training_step(tmp_path):
    recipe = scales.scale_named("smoke").recipe("mae", "micro")
    config = dataclasses.replace(FULL, **recipe, warmup_epochs=0, max_steps=1)
    found = evaluate(encoder(), stripes(96, 0), stripes(23, 1), config, seed=1, work_dir=tmp_path)
    assert np.isfinite(found["loss"]) and 0 <= found["top1"] <= 1
    # Robustness left the trained norm out, and other images were right than those that finetuning counts.
    loaded = load_finetuned(encoder(), 2, tmp_path)
    assert loaded.norm_after_pool
    assert np.abs(loaded.norm.bias[...]).max() > 0
    without = nnx.split(FinetunedViT(encoder(), 2, rngs=nnx.Rngs(0)))[1]
    with Checkpoints(tmp_path / "state") as checkpoints, pytest.raises(UserError, match="params/norm/.* missing here"):
        checkpoints.restore_part("params", example=without)


def test_the_cosine_may_end_above_zero():
    schedule = learning_rate_schedule(1.0, 2, 10, 0.25)
    assert [schedule(step) for step in (0, 1, 2, 6, 10, 11)] == [0, 0.5, 1.0, pytest.approx(0.625), 0.25, 0.25]


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (b"step,loss,lr,top1\n2,1,0.1,0.5\n4,1,0.1,0.6\n", True),
        (b"", False),
        (b"step,loss,lr,top1\n", False),
        (b"step,loss,lr,top1\n4,1,0.1,0.6\n", False),
        (b"step,loss,lr,top1\n2,1,0.1,0.5\n4,1\n", False),
        (b"step,loss,lr,top1\n2,1,0.1,0.5\n4,1,0.1,6\n", False),
        (b"step,loss,lr,top1\n2,1,0.1,0.5\n4,1,0.1,nan\n", False),
        (b"\xff\xfe\x00", False),
    ],
)
def test_a_curve_that_is_empty_or_cut_is_not_taken_for_a_finetunings(tmp_path, content, whole):
    """Without a whole one, a finetuning starts anew; no number is read from it."""
    (tmp_path / "curve.csv").write_bytes(content)
    assert _has_curve(tmp_path / "curve.csv", step=4, steps_per_epoch=2) is whole
