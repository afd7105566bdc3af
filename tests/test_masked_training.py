"""The training of the masked-image methods: the same numbers on any number of devices, and after an interruption."""

from __future__ import annotations

import csv
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from can import data, train, training_step
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.methods import settings_class
from can.methods.kinds import Fixed
from can.models import model_config
from can.runs import RunDir
from can.runs.log import TrainLog

REPOSITORY = Path(__file__).resolve().parent.parent
MODEL = model_config("nano", 28, width=16, heads=2, depth=1, mlp_dim=32)
TOKENS = dict(codes=16, codebook_patches=500)
SETTINGS = {
    "simmim": {},
    "beit": TOKENS,
    "cae": TOKENS | dict(regressor_depth=1, token_decoder_depth=1),
    "cim": TOKENS | dict(generator_depth=1),
}


def tiny_config(name: str, total_steps: int = 40) -> RunConfig:
    return RunConfig(
        scale="smoke",
        epochs=1,
        seed=0,
        model=MODEL,
        method=settings_class(name)(**SETTINGS[name]),
        augment=AugmentConfig("none"),  # which compiles soonest
        data=DataConfig("smoke"),
        optim=OptimConfig(base_lr=0.1, weight_decay=0.05, batch_size=16, total_steps=total_steps, warmup_steps=2),
    )


def rows_of(run: RunDir) -> list[dict[str, str]]:
    rows = csv.DictReader((run.results / "train.csv").open())
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


class Stopped(Exception):
    """Stands for a kill."""


@pytest.mark.usefixtures("one_training_step")
@pytest.mark.parametrize("name", SETTINGS)
def test_it_learns_and_goes_on_after_a_stop_to_the_same_bits(name, tmp_path, monkeypatch):
    """Of sixteen images, whose loss falls; stopped at step 35 of 40, the end is the same: state and log."""
    config = tiny_config(name)
    images = data.load("smoke", "train[:16]", data_dir=tmp_path)
    whole, stopped = (RunDir(tmp_path / which, tmp_path / which / "w", "smoke", "run") for which in ("a", "b"))
    expected = train.pretrain(config, whole, images, log_every=5)
    write = TrainLog.write

    def stop(log, step, row):
        if step == 35:
            raise Stopped
        write(log, step, row)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(TrainLog, "write", stop)
        train.pretrain(config, stopped, images, log_every=5, checkpoint_every=30)
    found = train.pretrain(config, stopped, images, log_every=5)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows_of(whole) == rows_of(stopped)
    if fixed := jax.tree.leaves(nnx.state(training_step.new_method(config), Fixed)):  # zeros, before they are prepared
        kept = jax.tree.leaves(found.batch_stats)
        assert len(kept) == len(fixed)
        assert all(np.abs(leaf).max() > 0 for leaf in kept)
    losses = [float(row["loss"]) for row in rows_of(whole)]
    assert losses[-1] < 0.9 * losses[0]


ON_EIGHT_DEVICES = """
import sys
import jax, numpy as np, optax
sys.path.insert(0, {tests!r})
from test_masked_training import SETTINGS, tiny_config
from can import data, train, training_step
from can.sharding import make_mesh, put_batch, state_sharding

images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)

def step_of(config, graphdef, start, mesh):
    state = jax.device_put(start, state_sharding(start, mesh))
    step = jax.jit(training_step.make_train_step(graphdef, config))
    rates = {{"learning_rate": np.float32(0.01)}}
    after, metrics = step(state, put_batch({{"image": images}}, mesh, 16), rates, jax.random.key(1))
    del metrics["update_norm"]  # Adam's first update is of signs, which rounding decides
    return [np.asarray(leaf) for leaf in jax.tree.leaves((optax.tree_utils.tree_get(after.opt_state, "mu"), metrics))]

eight = make_mesh(fsdp=4)
one = jax.make_mesh((1, 1), eight.axis_names, eight.axis_types, devices=jax.devices()[:1])
for name in SETTINGS:
    config = tiny_config(name)
    graphdef, _ = training_step.init_state(config)
    start = training_step.first_state(config, data.load("smoke", "train", data_dir={folder!r}), one)
    expected = step_of(config, graphdef, start, one)
    for a, b in zip(expected, step_of(config, graphdef, start, eight), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5, err_msg=name)
"""


def test_losses_and_gradients_are_the_same_on_1_and_8_devices(run_python, tmp_path):
    run_python(ON_EIGHT_DEVICES.format(tests=str(REPOSITORY / "tests"), folder=str(tmp_path)), devices=8)
