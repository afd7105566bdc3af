"""The training step and the loop: the same numbers on any number of devices, after any interruption."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from can import data, train, trained, training_step
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.errors import UserError
from can.evals.encoder import Encoder
from can.gradients import gradients
from can.methods import settings_class
from can.models import model_config
from can.runs import RunDir, checkpoint_due
from can.runs.config_file import config_of
from can.runs.log import TrainLog
from can.runs.row import Row
from can.sharding import make_mesh

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL = model_config(
    "nano", 14, width=16, heads=2, depth=2, mlp_dim=32, decoder_width=8, decoder_heads=2, head_width=24
)


def tiny_config(method: str = "can", **optim: float) -> RunConfig:
    settings = dict(base_lr=0.01, weight_decay=0.05, batch_size=16, total_steps=4, warmup_steps=1) | optim
    return RunConfig(
        scale="smoke",
        epochs=1,
        seed=0,
        model=MODEL,
        method=settings_class(method)(),
        augment=AugmentConfig(),
        data=DataConfig("smoke"),
        optim=OptimConfig(**settings),
    )


@pytest.mark.parametrize("method", ["can", "mae", "simclr", "supervised"])
def test_every_method_learns_from_one_batch(method, tmp_path):
    """Thirty steps lower the loss well below where it starts."""
    config = tiny_config(method, total_steps=40, warmup_steps=2, base_lr=0.1)
    run = RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", "run")
    train.pretrain(config, run, data.load("smoke", "train[:16]", data_dir=tmp_path), log_every=1)
    losses = [float(row["loss"]) for row in csv.DictReader((run.results / "train.csv").open())]
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.1 * abs(np.mean(losses[:3]))


def test_an_epoch_count_of_zero_leaves_the_encoder_as_initialised(tmp_path):
    config = tiny_config("random", total_steps=0, warmup_steps=0)
    run = RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", "run")
    run.claim(config)
    train.pretrain(config, run, data.load("smoke", "train", data_dir=tmp_path))
    assert run.pretrained and run.has_weights
    start = training_step.new_method(config).encoder
    for a, b in zip(*(jax.tree.leaves(nnx.state(e)) for e in (start, trained.load_encoder(config, run))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_provenance_has_the_fingerprint_of_the_encoder_that_evaluations_load(tmp_path):
    config = tiny_config("can", total_steps=2)
    run = RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", "run")
    train.pretrain(config, run, data.load("smoke", "train", data_dir=tmp_path))
    weights = json.loads((run.results / "provenance.json").read_text())["weights"]
    assert weights == Encoder.from_model(trained.load_encoder(config, run)).fingerprint
    assert weights != Encoder.from_model(training_step.new_method(config).encoder).fingerprint
    # Results whose checkpoint was replaced by another training's are not evaluated with it.
    path = run.results / "provenance.json"
    path.write_text(path.read_text().replace(weights, "0" * 64))
    for load in (trained.load_encoder, trained.load_method):
        with pytest.raises(UserError, match="is of another training than"):
            load(config, run)


LOSS_AND_GRADIENTS = """
import dataclasses, sys
import jax, numpy as np, optax
sys.path.insert(0, {tests!r})
from test_train import tiny_config
from can import training_step
from can.schedules import rates
from can.sharding import make_mesh, put_batch, state_sharding

images = np.random.default_rng(0).integers(0, 256, (16, 20, 20, 3), np.uint8)
small = dict(depth=1, decoder_depth=1, head_out=8)

def of_teacher(method):
    config = tiny_config(method)
    augment = dataclasses.replace(config.augment, local_crops=2 * (method in ("dino", "can_crops")), local_size=7)
    if method == "dino":
        config = dataclasses.replace(config, method=dataclasses.replace(config.method, prototypes=16))
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **small), augment=augment)

def loss_and_gradients(config, graphdef, start, mesh):
    step = jax.jit(training_step.make_train_step(graphdef, config))
    state = jax.device_put(start, state_sharding(start, mesh))
    batch = put_batch({{"image": images}}, mesh, len(images))
    given = rates(config)(1) | {{"learning_rate": 1e-4}}  # a teacher follows what is of such signs
    after, metrics = step(state, batch, jax.tree.map(np.float32, given), jax.random.key(1))
    # Not the new parameters: Adam's first update is a sign, which rounding decides where a gradient is nearly zero. Its
    # first moments are the gradients, times 1 - beta1.
    moments = optax.tree_utils.tree_get(after.opt_state, "mu")
    gradients = jax.tree.map(lambda moment: moment / (1 - config.optim.beta1), moments)
    del metrics["update_norm"]  # of such signs, too
    assert max(np.abs(np.asarray(leaf)).max() for leaf in jax.tree.leaves(gradients)) > 1e-3
    return [np.asarray(leaf) for leaf in jax.tree.leaves((gradients, after.batch_stats, metrics))]

eight, shared = make_mesh(), make_mesh(fsdp=4)
assert eight.size == shared.size == 8
one = jax.make_mesh((1, 1), eight.axis_names, eight.axis_types, devices=jax.devices()[:1])
for method in {methods}:
    several = method in ("can", "simclr", "mae")
    config = tiny_config(method) if several else of_teacher(method)
    graphdef, start = training_step.init_state(config)
    expected = loss_and_gradients(config, graphdef, start, one)
    for mesh in (eight, shared) if several else (shared,):
        for a, b in zip(expected, loss_and_gradients(config, graphdef, start, mesh), strict=True):
            largest = max(1, np.abs(a).max())  # sums round as their greatest term does
            np.testing.assert_allclose(a, b, atol=1e-5 * largest, rtol=1e-5, err_msg=f"{{method}} on {{mesh}}")
"""


# The others are of their parts: what the masked-image methods are is in test_masked_training.
METHODS = [("can", "simclr", "mae", "mocov3", "dino"), ("byol", "moclr", "can_teacher", "can_crops")]


@pytest.mark.parametrize("methods", [METHODS[0], pytest.param(METHODS[1], marks=pytest.mark.long)])
def test_loss_gradients_and_statistics_of_every_method_are_the_same_on_1_and_8_devices(methods, run_python):
    """InfoNCE's negatives, BatchNorm's statistics and DINO's centre are those of the global batch; teachers follow."""
    run_python(LOSS_AND_GRADIENTS.format(tests=str(REPOSITORY / "tests"), methods=methods), devices=8)


def pretrain_flags(folder: Path) -> list[str]:
    return [
        "--scale=smoke",
        "--data=jft",
        "--method=can",
        "--depth=1",
        "--decoder_depth=1",
        "--total_steps=16",
        "--checkpoint_every=4",
        "--log_every=1",
        f"--results_dir={folder / 'results'}",
        f"--workdir={folder / 'checkpoints'}",
        "--name=run",
    ]


def final_state(folder: Path) -> dict[str, np.ndarray]:
    config = config_of(json.loads((folder / "results/smoke/run/config.json").read_text()))
    run = RunDir(folder / "results", folder / "checkpoints", "smoke", "run")
    with train.Checkpoints(run.checkpoints) as checkpoints:
        state, step = checkpoints.restore(training_step.abstract_state(config)[1])
    assert step == 16
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def log_rows(folder: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader((folder / "results/smoke/run/train.csv").open()))
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


def test_a_run_killed_at_step_8_and_resumed_ends_bit_for_bit_like_one_that_was_not(commands, tmp_path):
    """Weights, optimiser state and every logged metric."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    made = commands("experiments/pretrain.py", *pretrain_flags(whole))
    assert made.returncode == 0, made.stderr

    command = [sys.executable, str(REPOSITORY / "experiments" / "pretrain.py"), *pretrain_flags(killed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (killed / "checkpoints/smoke/run/state/8").is_dir():
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "results/smoke/run/train.csv").exists()

    subprocess.run(command, check=True, capture_output=True, timeout=300)
    expected, found = final_state(whole), final_state(killed)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_array_equal(expected[name], found[name], err_msg=name)
    assert log_rows(whole) == log_rows(killed)
    assert len(log_rows(whole)) == 16


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", "run")


def rows_of(run: RunDir) -> list[dict[str, float]]:
    rows = csv.DictReader((run.results / "train.csv").open())
    return [{name: float(value) for name, value in row.items()} for row in rows]


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.usefixtures("one_training_step")
def test_rows_are_means_over_the_interval_after_an_interruption_too(tmp_path, monkeypatch):
    """A checkpoint is asked for every 2 steps, a row every 3; the last interval is shorter."""
    config = tiny_config("can", total_steps=8)
    images = data.load("smoke", "train", data_dir=tmp_path)
    single, means, resumed = (RunDir(tmp_path / name, tmp_path / name, "smoke", "run") for name in "abc")
    train.pretrain(config, single, images, log_every=1)
    train.pretrain(config, means, images, log_every=3, checkpoint_every=2)
    steps, found = rows_of(single), rows_of(means)
    assert [row["step"] for row in found] == [3, 6, 8]
    names = ["denoise", "infonce", "loss", "reconstruct", "grad_norm", "update_norm"]
    assert set(found[0]) == {"step", *names, "param_norm", "lr", "images_per_second"}
    for row, interval in zip(found, (slice(0, 3), slice(3, 6), slice(6, 8)), strict=True):
        for name in names:
            expected = np.mean([step[name] for step in steps[interval]])
            np.testing.assert_allclose(row[name], expected, rtol=1e-7, err_msg=name)
        assert row["param_norm"] == steps[interval][-1]["param_norm"]

    write = TrainLog.write

    def stop(log, step, row):
        if step == 6:
            raise Stopped
        write(log, step, row)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(TrainLog, "write", stop)
        train.pretrain(config, resumed, images, log_every=3, checkpoint_every=2)
    with train.Checkpoints(resumed.checkpoints) as checkpoints:
        assert checkpoints.latest_step == 3
    train.pretrain(config, resumed, images, log_every=3, checkpoint_every=2)
    for ours, theirs in zip(rows_of(resumed), found, strict=True):
        assert {**ours, "images_per_second": 0} == {**theirs, "images_per_second": 0}


def test_a_row_goes_on_after_a_stop_under_another_length_too() -> None:
    """Rows end at multiples of 3 until the stop after step 5, and of 4 behind it."""
    mesh = make_mesh()

    def measured(row: Row, steps: range) -> np.ndarray:
        for step in steps:
            row.add(step, {"loss": jnp.float32(step)})
        return jax.device_get(row.values)

    row = Row(3, 0, {}, mesh)
    measured(row, range(3))
    row.end(3)
    saved = row.to_save(measured(row, range(3, 5)), 5)
    np.testing.assert_array_equal(saved["loss"], [3, 4])
    for log_every, ends, expected in ((3, 6, [3, 4, 5]), (4, 8, [3, 4, 5, 6, 7])):
        row = Row(log_every, 5, saved, mesh)
        steps = row.steps(measured(row, range(5, ends)), ends)
        assert [step["loss"] for step in steps] == expected
        row.end(ends)
        assert row.to_save(jax.device_get(row.values), ends) == {}


@pytest.mark.usefixtures("one_training_step")
def test_checkpoints_of_earlier_versions_hold_no_row_and_are_gone_on_from(run, tmp_path):
    config = tiny_config("mae", total_steps=4)
    images = data.load("smoke", "train", data_dir=tmp_path)
    whole = train.pretrain(config, run, images, log_every=2, checkpoint_every=2)
    with train.Checkpoints(run.checkpoints) as checkpoints:
        half, step = checkpoints.restore_part(example=training_step.abstract_state(config)[1], step=2)
        assert checkpoints.restore_beside() == {}
    earlier = RunDir(tmp_path / "earlier", tmp_path / "earlier", "smoke", "run")
    with train.Checkpoints(earlier.checkpoints) as checkpoints:
        checkpoints.save(step, half)
    found = train.pretrain(config, earlier, images, log_every=2)
    jax.tree.map(np.testing.assert_array_equal, found, whole)


def test_the_norms_are_those_of_gradients_and_updates():
    config = tiny_config("can", clip_norm=1e-3)
    graphdef, before = training_step.init_state(config)
    images = np.random.default_rng(0).integers(0, 256, (16, 20, 20, 3), np.uint8)
    step = jax.jit(training_step.make_train_step(graphdef, config))
    after, metrics = step(before, {"image": images}, {"learning_rate": np.float32(0.1)}, jax.random.key(1))

    def norm(tree):
        return np.sqrt(sum(np.sum(np.square(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(tree)))

    difference = jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, after.params, before.params)
    np.testing.assert_allclose(metrics["update_norm"], norm(difference), rtol=1e-4)
    assert metrics["grad_norm"] > 10 * config.optim.clip_norm  # before the clip
    moments = optax.tree_utils.tree_get(after.opt_state, "mu")
    clipped = norm(moments) / (1 - config.optim.beta1)
    np.testing.assert_allclose(clipped, config.optim.clip_norm, rtol=1e-4)


@pytest.mark.parametrize(
    ("broken", "message"),
    [("loss", "the loss became nan"), ("gradients", "the norm of the gradients became"), ("rate", "of the parameters")],
)
def test_what_is_not_finite_is_never_saved(broken, message, run, tmp_path, monkeypatch):
    """At step 4, at which a checkpoint falls due: the run ends, names the step, and has the checkpoint of step 2."""
    config = tiny_config("mae", total_steps=8)
    images = data.load("smoke", "train", data_dir=tmp_path)
    make, bad = training_step.make_train_step, []

    def breaking_step(graphdef, config):
        step = make(graphdef, config)

        def train_step(state, batch, rates, key):
            bad.append(jnp.where(state.step == 3, jnp.nan, 0.0))
            rates = {"learning_rate": rates["learning_rate"] + (bad[-1] if broken == "rate" else 0)}
            after, metrics = step(state, batch, rates, key)
            return after, metrics | ({"loss": metrics["loss"] + bad[-1]} if broken == "loss" else {})

        return train_step

    def breaking_gradients(*args):
        grads, metrics, batch_stats = gradients(*args)
        return jax.tree.map(lambda leaf: leaf + bad[-1], grads), metrics, batch_stats

    monkeypatch.setattr(training_step, "make_train_step", breaking_step)
    if broken == "gradients":
        monkeypatch.setattr(training_step, "gradients", breaking_gradients)
    with pytest.raises(UserError, match=rf"{message}.* at step 4 of 8.*lower --base_lr"):
        train.pretrain(config, run, images, checkpoint_every=2, log_every=2)
    with train.Checkpoints(run.checkpoints) as checkpoints:
        state, step = checkpoints.restore(training_step.init_state(config)[1])
    assert step == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert not run.pretrained


def test_the_next_batch_is_on_the_device_before_the_host_waits(run, tmp_path, monkeypatch):
    config = tiny_config("mae", total_steps=4)
    events = []
    put, get = train.put_batch, jax.device_get
    monkeypatch.setattr(train, "put_batch", lambda *args: (events.append("put"), put(*args))[1])
    monkeypatch.setattr(train.jax, "device_get", lambda tree: (events.append("wait"), get(tree))[1])
    train.pretrain(config, run, data.load("smoke", "train", data_dir=tmp_path), log_every=2)
    # The first step is looked at by itself.
    assert events == ["put", "put", "wait", "put", "wait", "put", "wait"]


def test_checkpoints_of_some_steps_are_kept_for_good(run, tmp_path):
    """Multiples of 3, rounded up to rows of two steps, whatever else is saved; besides, the latest two."""
    images = data.load("smoke", "train", data_dir=tmp_path)
    train.pretrain(tiny_config("mae", total_steps=14), run, images, log_every=2, checkpoint_every=100, keep_every=3)
    with train.Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.steps == [4, 8, 12, 14]


def test_a_checkpoint_is_due_by_steps_or_so_long_after_the_last_one(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint_due.time, "monotonic", lambda: now[0])
    due = checkpoint_due.CheckpointDue(steps=100, seconds=60, keep_every=70)
    made = []
    for step in range(10, 210, 10):
        now[0] += 13
        if due.at(step):
            made.append(step)
    assert made == [50, 70, 100, 140, 190, 200]
