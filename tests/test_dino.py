"""DINO: loss, centre and head are the authors'; the teacher is what is evaluated."""

from __future__ import annotations

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from teachers import MODEL, tensor
from test_train import tiny_config
from torch.nn import functional

from can import data, objectives, train, trained, training_step
from can.data import EncodedImages
from can.errors import ConfigError
from can.methods import settings_class
from can.methods.dino import DINO, Pooled
from can.models.mlp_head import DINOHead
from can.runs import RunDir
from can.schedules import rates
from can.sharding import make_mesh

K, VIEWS, N = 20, 6, 5


def dino_config(**optim):
    config = tiny_config("dino", **optim)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(MODEL, head_width=24, head_out=8),
        method=settings_class("dino")(
            prototypes=K, teacher_momentum=0.5, temperature_warmup=0.5, teacher_temperature=0.07
        ),
        augment=dataclasses.replace(
            config.augment, name="byol", local_crops=VIEWS - 2, local_size=7, solarize_prob=0.2
        ),
    )


class DINOLoss:
    """main_dino.py: DINOLoss, on one process."""

    def __init__(self):
        self.centre = torch.zeros(1, K, dtype=torch.float64)

    def __call__(self, student, teacher, temperature):
        targets = [functional.softmax((view - self.centre) / temperature, dim=-1).detach() for view in teacher]
        total, pairs = 0, 0
        for a, target in enumerate(targets):
            for b, view in enumerate(student):
                if a != b:
                    total = total + torch.sum(-target * functional.log_softmax(view / 0.1, dim=-1), dim=-1).mean()
                    pairs += 1
        self.centre = self.centre * 0.9 + torch.cat(list(teacher)).mean(dim=0, keepdim=True) * 0.1
        return total / pairs


def test_loss_gradients_and_centre_are_those_of_the_authors_code_over_three_steps():
    method, reference = training_step.new_method(dino_config()), DINOLoss()
    for head in (method.head, method.target["head"]):  # our outputs are the heads' inputs
        head.linear[-1].kernel[...] = head.linear[-1].kernel[...] * 50
    largest = 0.0
    for step, temperature in enumerate((0.04, 0.05, 0.07)):
        student, teacher = (
            jax.random.normal(jax.random.key(10 * step + of), (views * N, MODEL.width))
            for of, views in ((0, VIEWS), (1, 2))
        )
        outputs, targets = method.head(student), method.target["head"](teacher)
        given = tensor(outputs).requires_grad_()
        expected = reference(given.chunk(VIEWS), tensor(targets).chunk(2), temperature)
        expected.backward()

        def loss(outputs, centre, targets=targets, temperature=temperature):
            views = outputs.reshape(VIEWS, N, K), targets.reshape(2, N, K)
            return objectives.distillation(*views, centre, 0.1, temperature)[0]

        gradient = jax.grad(loss)(outputs, method.centre[...])
        found, metrics = method.whole_batch(Pooled(student, teacher, jnp.float32(temperature)), {})
        assert 0 < metrics["teacher_entropy"] < np.log(K) + 1e-3
        for ours, theirs in (
            (found, expected.detach()),
            (gradient, given.grad),
            (method.centre[...], reference.centre[0]),
        ):
            ours, theirs = np.asarray(ours), theirs.numpy()
            largest = max(largest, np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"dino: largest relative difference {largest:.1e}")
    assert largest < 2e-5


def test_the_head_is_the_authors_in_torch():
    """vision_transformer.py: DINOHead, whose last layer has weights of norm 1."""
    head = DINOHead(16, 24, 8, K, rngs=nnx.Rngs(0))
    rows = jax.random.normal(jax.random.key(0), (7, 16))
    x = tensor(rows)
    for place, linear in enumerate(head.linear):
        x = functional.linear(x, tensor(linear.kernel[...]).T, tensor(linear.bias[...]))
        x = functional.gelu(x) if place < 2 else functional.normalize(x)
    last = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(8, K, bias=False, dtype=torch.float64))
    last.parametrizations.weight.original0.data.fill_(1)
    last.parametrizations.weight.original1.data = tensor(head.prototypes[...])
    np.testing.assert_allclose(head(rows), last(x).detach().numpy(), atol=1e-5)


def test_the_teachers_temperature_rises_and_prototypes_wait():
    config = dino_config(total_steps=100)
    config = dataclasses.replace(config, method=dataclasses.replace(config.method, prototypes_frozen=0.02))
    at = rates(config)
    assert [round(at(step)["teacher_temperature"], 4) for step in (0, 25, 50, 99)] == [0.04, 0.055, 0.07, 0.07]
    assert [at(step)["learns/prototypes"] for step in (0, 1, 2, 99)] == [0, 0, 1, 1]
    assert at(0)["momentum"] == 0.5
    assert at(50)["momentum"] == pytest.approx(0.75)


@pytest.mark.usefixtures("one_training_step")
def test_it_resumes_to_the_bit_logs_its_entropy_and_its_teacher_is_evaluated(tmp_path):
    """Teacher, centre and all else, stopped at step 3 of 5; the prototypes have waited for one step."""
    config = dino_config(total_steps=5)
    images = data.load("smoke", "train[:32]", data_dir=tmp_path)
    whole, resumed = (RunDir(tmp_path / name, tmp_path / name, "smoke", "run") for name in "ab")
    expected = train.pretrain(config, whole, images, log_every=1)
    part = dataclasses.replace(config, optim=dataclasses.replace(config.optim, max_steps=3))
    train.pretrain(part, resumed, images, log_every=1)
    found = train.pretrain(config, resumed, images, log_every=1)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = list(csv.DictReader((whole.results / "train.csv").open()))
    assert all(0 <= float(row["teacher_entropy"]) <= np.log(K) + 1e-3 for row in rows)
    assert float(np.abs(expected.batch_stats["centre"][...]).max()) > 0
    teacher = expected.batch_stats["target"]["encoder"]
    for a, b in zip(
        jax.tree.leaves(nnx.state(trained.load_encoder(config, whole))), jax.tree.leaves(teacher), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_what_cannot_work_is_refused():
    config = dino_config()
    with pytest.raises(ConfigError, match="prototypes must lie in"):
        settings_class("dino")(prototypes=1)
    for wrong in (dict(local_size=21), dict(local_size=6)):
        with pytest.raises(ConfigError, match="local crops of .* pixels do not fit"):
            training_step.new_method(dataclasses.replace(config, augment=dataclasses.replace(config.augment, **wrong)))
    with pytest.raises(ConfigError, match="simclr takes no local crops"):
        training_step.new_method(dataclasses.replace(config, method=settings_class("simclr")()))
    for name in ("dino", "mocov3", "byol", "moclr", "can_teacher", "can_crops"):
        with pytest.raises(ConfigError, match="without negatives"):
            training_step.new_method(tiny_config(name, batch_size=1))
    photos = object.__new__(EncodedImages)
    object.__setattr__(photos, "name", "photos")
    with pytest.raises(ConfigError, match="not cut out of encoded images, as photos has"):
        train.training_batches(config, photos, make_mesh(), 0)
    assert DINO.evaluated == "target/encoder"
