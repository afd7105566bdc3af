"""CAN with a momentum teacher and CAN with local crops: the loss, by hand, and what they are without their addition."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from teachers import IMAGES, compare, new, tensor
from test_train import tiny_config
from torch.nn import functional

from can import training_step
from can.errors import ConfigError
from can.methods import settings_class
from can.methods.can_crops import Pooled as CropsPooled
from can.methods.can_teacher import Pooled
from can.methods.kinds import Target, follow, split_method
from can.run_flops import step_flops
from can.schedules import rates

KEY = jax.random.key(3)


def projected(head, rows):
    """CAN's projection head in torch, batch statistics of both views."""
    for hidden, norm in zip(head.hidden, head.norms, strict=True):
        rows = rows @ tensor(hidden.kernel[...])
        rows = functional.batch_norm(rows, None, None, tensor(norm.scale[...]), tensor(norm.bias[...]), True)
        rows = functional.relu(rows)
    return functional.normalize(rows @ tensor(head.out.kernel[...]) + tensor(head.out.bias[...]))


def test_the_contrast_with_the_teachers_keys_is_that_of_torch():
    import torch

    method = new("can_teacher", lambda_infonce=0.25, temperature=0.2)

    def reference(students, teachers):
        q = projected(method.head, torch.cat(students)).chunk(2)
        k = projected(method.target["head"], torch.cat(teachers)).chunk(2)
        both = [functional.cross_entropy(q[a] @ k[1 - a].T / 0.2, torch.arange(IMAGES)) for a in (0, 1)]
        return 0.25 * sum(both) / 2

    assert compare(method, reference, Pooled) < 1e-5


def test_local_crops_are_contrasted_with_both_full_views():
    """By hand in numpy; without their weight it is CAN."""
    method = new("can_crops", lambda_infonce=1.0, local_weight=0.25, temperature=0.5)
    views, small = (jax.random.normal(jax.random.key(key), (count * 6, 16)) for key, count in ((1, 2), (2, 3)))
    zeros = {"reconstruct": jnp.zeros(()), "denoise": jnp.zeros(())}
    u = np.asarray(method.head(views), np.float64).reshape(2, 6, -1)
    crops = np.asarray(method.head(small), np.float64).reshape(3, 6, -1)
    logits = np.einsum("lnd,vmd->lvnm", crops, u) / 0.5
    local = np.mean(np.log(np.exp(logits).sum(-1)) - np.einsum("lvnn->lvn", logits))
    loss, metrics = method.whole_batch(CropsPooled(views, small), zeros)
    np.testing.assert_allclose(metrics["infonce_local"], local, rtol=1e-5)
    np.testing.assert_allclose(loss, 0.75 * metrics["infonce"] + 0.25 * local, rtol=1e-5)
    can = new("can", lambda_infonce=1.0, temperature=0.5)
    np.testing.assert_allclose(can.whole_batch(views, zeros)[0], metrics["infonce"], rtol=1e-6)


def test_the_teacher_is_numpys_moving_average_of_five_steps_and_gets_no_gradient():
    config = tiny_config("can_teacher", total_steps=8)
    config = dataclasses.replace(config, method=settings_class("can_teacher")(teacher_momentum=0.6))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, depth=1, decoder_depth=1))
    graphdef, state = training_step.init_state(config)
    step, at = jax.jit(training_step.make_train_step(graphdef, config)), rates(config)
    images = np.random.default_rng(0).integers(0, 256, (16, 20, 20, 3), np.uint8)

    def encoder_and_head(state):
        return {name: state[name] for name in ("encoder", "head")}

    expected = jax.tree.map(np.asarray, encoder_and_head(state.params))
    for number in range(5):
        given = {name: np.float32(rate) for name, rate in at(number).items()}
        state, metrics = step(state, {"image": images}, given, jax.random.key(1))
        m = 1 - (1 - 0.6) * (1 + np.cos(np.pi * number / 8)) / 2
        expected = jax.tree.map(
            lambda old, new, m=m: m * old + (1 - m) * np.asarray(new), expected, encoder_and_head(state.params)
        )
    ours = {path: value for path, value in state.batch_stats["target"].flat_state() if isinstance(value, Target)}
    assert len(ours) == len(jax.tree.leaves(expected))
    for path, value in ours.items():
        theirs = expected[path[0]]
        for name in path[1:]:
            theirs = theirs[name]
        np.testing.assert_allclose(value.get_value(), jax.tree.leaves(theirs)[0], rtol=1e-5, atol=1e-6)
    assert 0 < metrics["spread"] < 2


def test_targets_follow_and_all_else_stays():
    _, params, other = split_method(new("byol"))
    moved = follow(other, params, jnp.float32(0.0))
    by_path = dict(params.flat_state())
    for path, value in moved.flat_state():
        theirs = by_path[path[1:]] if isinstance(value, Target) else dict(other.flat_state())[path]
        np.testing.assert_array_equal(value.get_value(), theirs.get_value())
    assert {type(value) for _, value in moved.flat_state()} == {Target, nnx.BatchStat}


def test_the_teachers_forward_pass_and_local_crops_are_counted():
    can, teacher, crops = (tiny_config(name) for name in ("can", "can_teacher", "can_crops"))
    crops = dataclasses.replace(crops, augment=dataclasses.replace(crops.augment, local_crops=4, local_size=7))
    counted = [step_flops(config).matmul for config in (can, teacher, crops)]
    assert counted[1] > 1.05 * counted[0]
    assert counted[2] > 1.05 * counted[0]


def test_local_crops_are_needed():
    with pytest.raises(ConfigError, match="pass --local_crops of 1 or more"):
        new("can_crops").loss({"views": jnp.zeros((2, 4, 14, 14, 3))}, KEY)
