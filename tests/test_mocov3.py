"""MoCo-v3: its loss is the authors', its patch embedding stays."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import torch
from teachers import IMAGES, compare, in_torch, new
from test_train import tiny_config
from torch.nn import functional

from can import training_step
from can.methods.teacher import Pooled


def test_the_loss_is_that_of_the_authors_code_in_torch():
    """moco/builder.py: contrastive_loss, with our weights in their heads."""
    method = new("mocov3")

    def contrast(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        q, k = functional.normalize(q), functional.normalize(k)
        return functional.cross_entropy(q @ k.T / 0.2, torch.arange(len(q))) * (2 * 0.2)

    def reference(students, teachers):
        q = [in_torch(method.predictor, in_torch(method.projector, view)) for view in students]
        k = [in_torch(method.target["projector"], view) for view in teachers]
        return contrast(q[0], k[1]) + contrast(q[1], k[0])

    assert compare(method, reference, Pooled) < 1e-5


def test_without_information_it_is_4_tau_ln_n_and_the_keys_are_spread():
    method = new("mocov3", head_out=256)
    student, teacher = (jax.random.normal(jax.random.key(key), (2 * IMAGES, 16)) for key in (1, 2))
    loss, metrics = method.whole_batch(Pooled(student, teacher), {})
    np.testing.assert_allclose(loss, 4 * 0.2 * np.log(IMAGES), rtol=0.1)
    assert 0.8 < metrics["spread"] < 1.1
    collapsed = method.whole_batch(Pooled(student, teacher[:1].repeat(2 * IMAGES, 0)), {})[1]
    assert collapsed["spread"] < 1e-3


def test_the_patch_embedding_neither_learns_nor_decays():
    config = tiny_config("mocov3", weight_decay=0.5)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, depth=1))
    graphdef, before = training_step.init_state(config)
    images = np.random.default_rng(0).integers(0, 256, (16, 20, 20, 3), np.uint8)
    rates = {"learning_rate": np.float32(0.1), "momentum": np.float32(0.9)}
    after, _ = jax.jit(training_step.make_train_step(graphdef, config))(
        before, {"image": images}, rates, jax.random.key(1)
    )
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), after.params, before.params)
    assert max(jax.tree.leaves(moved["encoder"]["patch_embed"])) == 0
    assert min(jax.tree.leaves(moved["encoder"]["transformer"]["blocks"]["mlp_in"]["kernel"])) > 0
