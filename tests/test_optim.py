"""Optimisers and schedules against numpy versions of their references and against optax."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from can.config import OptimConfig
from can.models import ViT, model_config
from can.optim import (
    adamw,
    cosine,
    decay_mask,
    decayed,
    descend,
    lars,
    layer_decay_scales,
    learning_rate_schedule,
    optimizer,
    path_names,
)

DEPTH = 3


class Pretrained(nnx.Module):
    """An encoder with a head, and an [M] of rank 3, as He et al.'s weights hold it."""

    def __init__(self, rngs: nnx.Rngs):
        config = model_config("nano", 8, patch_size=4, width=8, heads=2, mlp_dim=16, depth=DEPTH, cls_token=True)
        self.encoder = ViT(config, rngs=rngs)
        self.mask_token = nnx.Param(jnp.ones((1, 1, 8)))
        self.head = nnx.Linear(8, 4, rngs=rngs)


@pytest.fixture(scope="module")
def params() -> nnx.State:
    shapes = nnx.state(nnx.eval_shape(lambda: Pretrained(nnx.Rngs(0))), nnx.Param)
    return gradients_like(shapes, step=-1)


def by_name(tree) -> dict[str, jax.Array]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(path_names(path)).removesuffix(".value"): leaf for path, leaf in leaves}


def gradients_like(params, step: int):
    rng = np.random.default_rng(step + 1)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), params)


def run(optimizer: optax.GradientTransformation, params, gradients: list, rates: list[float]):
    """Our optimisers: the rate is applied last."""

    @jax.jit
    def step(params, state, step_gradients, rate):
        updates, state = optimizer.update(step_gradients, state, params)
        return descend(params, updates, rate), state

    state = optimizer.init(params)
    for step_gradients, rate in zip(gradients, rates, strict=True):
        params, state = step(params, state, step_gradients, rate)
    return params


def run_optax(optimizer: optax.GradientTransformation, params, gradients: list):
    """optax's optimisers: they hold the rate themselves, and their updates are added."""

    @jax.jit
    def step(params, state, step_gradients):
        updates, state = optimizer.update(step_gradients, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for step_gradients in gradients:
        params, state = step(params, state, step_gradients)
    return params


# Schedule


def test_schedule_matches_values_computed_by_hand():
    rate = learning_rate_schedule(2.0, warmup_steps=4, total_steps=12)
    expected = {0: 0.0, 1: 0.5, 2: 1.0, 4: 2.0, 6: 1.0 + math.sqrt(0.5), 8: 1.0, 10: 1.0 - math.sqrt(0.5), 12: 0.0}
    assert {step: rate(step) for step in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("warmup", "total"), [(10, 100), (0, 7), (1, 2)])
def test_schedule_equals_optax_warmup_cosine(warmup: int, total: int):
    ours = learning_rate_schedule(0.3, warmup, total)
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, warmup, total)
    steps = range(total + 3)
    np.testing.assert_allclose([ours(s) for s in steps], [theirs(s) for s in steps], atol=1e-7)


def test_schedule_that_is_all_warmup_ends_at_zero():
    rate = learning_rate_schedule(1.0, warmup_steps=4, total_steps=4)
    assert [rate(s) for s in range(6)] == [0.0, 0.25, 0.5, 0.75, 0.0, 0.0]


# Weight decay


def test_decay_reaches_the_matrices_of_single_layers_only(params):
    mask = by_name(decay_mask(params))
    block = "encoder.transformer.blocks."
    matrices = {block + layer for layer in ("qkv.kernel", "attention_out.kernel", "mlp_in.kernel", "mlp_out.kernel")}
    assert {name for name, decays in mask.items() if decays} == matrices | {"encoder.patch_embed.kernel", "head.kernel"}
    # Stacked biases and norms have rank 2, [M] rank 3 here: their spared names show that the rule is not ndim >= 2.
    spared = {name for name, decays in mask.items() if not decays}
    assert {block + "qkv.bias", block + "norm1.scale", "mask_token", "encoder.cls_token"} <= spared


def test_the_same_rules_hold_for_states_and_nested_dicts(params):
    plain = nnx.to_pure_dict(params)
    for rule in (decay_mask, lambda p: layer_decay_scales(p, 0.65, DEPTH)):
        ours, theirs = by_name(rule(params)), by_name(rule(plain))
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


# AdamW


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_adamw_equals_optax_under_a_schedule(params, clip_norm: float):
    params = nnx.to_pure_dict(params)
    params = {
        "blocks": params["encoder"]["transformer"]["blocks"]["qkv"],
        **{k: params[k] for k in ("mask_token", "head")},
    }
    config = OptimConfig(1e-3, 0.05, batch_size=256, total_steps=6, warmup_steps=2, clip_norm=clip_norm)
    rate = learning_rate_schedule(config.peak_lr, config.warmup_steps, config.total_steps)
    # optax counts steps from 0, as we do; its AdamW takes the learning rate inside.
    reference = optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, config.peak_lr, 2, 6),
        b1=0.9,
        b2=0.95,
        weight_decay=0.05,
        mask=decay_mask,
    )
    if clip_norm:
        reference = optax.chain(optax.clip_by_global_norm(clip_norm), reference)
    gradients = [gradients_like(params, step) for step in range(6)]
    ours = run(adamw(config), params, gradients, [rate(step) for step in range(6)])
    theirs = run_optax(reference, params, gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours, theirs)
    assert not np.allclose(ours["head"]["kernel"], params["head"]["kernel"], atol=1e-4)


# LARS


def reference_lars(weights: list[np.ndarray], gradients: list[list[np.ndarray]], rates: list[float], decay: float):
    """He et al.'s util/lars.py on numpy arrays, one array a layer's parameter."""
    weights = [w.astype(np.float64) for w in weights]
    buffers = [np.zeros_like(w) for w in weights]
    for step_gradients, rate in zip(gradients, rates, strict=True):
        for i, g in enumerate(step_gradients):
            if weights[i].ndim > 1:
                g = g + decay * weights[i]
                p_norm, g_norm = np.linalg.norm(weights[i]), np.linalg.norm(g)
                g = g * (0.001 * p_norm / g_norm if p_norm > 0 and g_norm > 0 else 1.0)
            buffers[i] = 0.9 * buffers[i] + g
            weights[i] = weights[i] - rate * buffers[i]
    return weights


SCHEDULE = [learning_rate_schedule(5.0, 2, 7)(s) for s in range(7)]


def linear_layer() -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    return {"kernel": jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), "bias": jnp.zeros(3)}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lars_equals_the_torch_reference_under_a_schedule(weight_decay: float):
    params = linear_layer()
    gradients = [gradients_like(params, step) for step in range(7)]
    ours = run(lars(weight_decay, 0.9), params, gradients, SCHEDULE)
    kernel, bias = reference_lars(
        [np.asarray(params["kernel"]), np.asarray(params["bias"])],
        [[np.asarray(g["kernel"]), np.asarray(g["bias"])] for g in gradients],
        SCHEDULE,
        weight_decay,
    )
    np.testing.assert_allclose(ours["kernel"], kernel, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours["bias"], bias, rtol=1e-5, atol=1e-6)


def test_lars_trusts_each_stacked_layer_on_its_own():
    rng = np.random.default_rng(1)
    scales = np.array([1.0, 10.0, 0.0], np.float32)  # the last layer is all zeros: its update stays as it is
    kernel = rng.normal(size=(3, 4, 2)).astype(np.float32) * scales[:, None, None]
    params = {"blocks": {"kernel": jnp.asarray(kernel), "bias": jnp.ones((3, 2))}}
    gradients = [gradients_like(params, step) for step in range(4)]
    ours = run(lars(0.0, 0.9), params, gradients, SCHEDULE[:4])["blocks"]
    for layer in range(3):
        expected_kernel, expected_bias = reference_lars(
            [kernel[layer], np.ones(2)],
            [[np.asarray(g["blocks"][leaf][layer]) for leaf in ("kernel", "bias")] for g in gradients],
            SCHEDULE[:4],
            0.0,
        )
        np.testing.assert_allclose(ours["kernel"][layer], expected_kernel, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(ours["bias"][layer], expected_bias, rtol=1e-5, atol=1e-6)


def test_lars_equals_optax_at_a_constant_rate_and_differs_under_a_schedule():
    params = linear_layer()
    gradients = [gradients_like(params, step) for step in range(7)]

    def difference(rates: list[float]) -> float:
        ours = run(lars(0.0, 0.9), params, gradients, rates)["kernel"]
        optimizer = optax.lars(lambda step: jnp.asarray(rates)[step], trust_coefficient=0.001, momentum=0.9)
        theirs = run_optax(optimizer, params, gradients)["kernel"]
        return float(jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(ours - params["kernel"]))

    assert difference([2.0] * 7) < 1e-5
    assert difference(SCHEDULE) > 0.1


# Layer-wise decay


def test_layer_scales_fall_from_the_head_to_the_embeddings(params):
    scales = by_name(layer_decay_scales(params, 0.65, DEPTH))
    assert float(scales["head.kernel"]) == 1.0
    assert float(scales["encoder.transformer.norm.scale"]) == 1.0  # He et al. count the final norm with the head
    for embedding in ("encoder.patch_embed.kernel", "encoder.cls_token"):
        assert float(scales[embedding]) == pytest.approx(0.65**4)
    blocks = scales["encoder.transformer.blocks.qkv.kernel"]
    assert blocks.shape == (DEPTH, 1, 1)
    np.testing.assert_allclose(blocks.ravel(), [0.65**3, 0.65**2, 0.65], rtol=1e-6)


def test_layer_scales_multiply_onto_the_updates_of_every_parameter(params):
    scales = layer_decay_scales(params, 0.5, DEPTH)
    scaled = by_name(jax.tree.map(lambda p, s: jnp.ones_like(p) * s, params, scales))
    assert {name: leaf.shape for name, leaf in scaled.items()} == {n: p.shape for n, p in by_name(params).items()}
    np.testing.assert_array_equal(scaled["encoder.transformer.blocks.norm1.bias"][:, 0], [0.125, 0.25, 0.5])


def test_layer_scales_refuse_another_depth(params):
    with pytest.raises(ValueError, match="stacks 3 layers, not 12"):
        layer_decay_scales(params, 0.65, 12)


# What single methods ask of them


def config_of(**fields) -> OptimConfig:
    return OptimConfig(**dict(base_lr=0.1, weight_decay=0.04, batch_size=16, total_steps=8, warmup_steps=0) | fields)


def test_each_layers_gradient_is_clipped_by_itself_as_torch_clips_each_tensor() -> None:
    """DINO's utils.py: clip_gradients. Of stacked blocks each layer counts, and what is below stays as it is."""
    import torch

    gradients = {
        "blocks": {"kernel": jnp.stack([jnp.full((3, 4), 5.0), jnp.full((3, 4), 0.1)]), "bias": jnp.full((2, 4), 7.0)},
        "head": jnp.arange(6.0),
    }
    tensors = [*gradients["blocks"]["kernel"], *gradients["blocks"]["bias"], gradients["head"]]
    expected = []
    for tensor in (torch.tensor(np.asarray(one)) for one in tensors):  # the authors' loop
        coefficient = 3.0 / (tensor.norm(2) + 1e-6)
        expected.append((tensor * coefficient if coefficient < 1 else tensor).numpy())
    chosen = optimizer(config_of(clip_norm=3.0, clip_each=True, beta1=0.5))
    state = chosen.update(gradients, chosen.init(gradients), gradients)[1]
    found = jax.tree.map(lambda moment: moment / 0.5, optax.tree_utils.tree_get(state, "mu"))
    flat = [*found["blocks"]["kernel"], *found["blocks"]["bias"], found["head"]]
    for ours, theirs in zip(flat, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_weight_decay_that_grows_decays_as_adamw_with_that_steps_decay(params) -> None:
    """The chain leaves it out, `decayed` puts it in: one step of each, and half a cosine from the first to the last."""
    gradients = gradients_like(params, step=0)
    at = cosine(0.04, 0.4, 8)
    assert [round(at(step), 4) for step in (0, 4, 8, 9)] == [0.04, 0.22, 0.4, 0.4]
    growing, plain = config_of(weight_decay_growth=10.0), config_of(weight_decay=at(4))
    updates = {
        name: optimizer(config).update(gradients, optimizer(config).init(params), params)[0]
        for name, config in (("growing", growing), ("plain", plain))
    }
    found = decayed(updates["growing"], params, at(4), growing)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(updates["plain"]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("decay_vectors", [False, True])
def test_the_optimiser_is_the_one_that_is_asked_for_and_vectors_decay_if_they_are_to(params, decay_vectors) -> None:
    none = jax.tree.map(jnp.zeros_like, params)
    updates = {}
    for name in ("adamw", "lars"):
        chosen = optimizer(config_of(optimizer=name, decay_vectors=decay_vectors and name == "adamw"))
        updates[name] = by_name(chosen.update(none, chosen.init(params), params)[0])
    kernel, bias = "head.kernel", "head.bias"
    np.testing.assert_allclose(updates["adamw"][kernel], 0.04 * by_name(params)[kernel], rtol=1e-6)
    np.testing.assert_allclose(updates["adamw"][bias], 0.04 * decay_vectors * by_name(params)[bias], rtol=1e-6)
    assert np.abs(updates["lars"][kernel]).max() > 0  # its decay is a gradient, trusted by the layer's norm
    length = float(jnp.linalg.norm(by_name(params)[kernel]))
    assert float(jnp.linalg.norm(updates["lars"][kernel])) == pytest.approx(0.001 * length, rel=1e-4)
    assert not np.abs(updates["lars"][bias]).any()
