"""Counted operations against sums by hand, XLA's own cost analysis, the paper's architectures and fvcore."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve
from can.config import ModelConfig
from can.flops import Flops, count_flops
from can.methods import build, method_class, settings_class
from can.models import ViT, model_config
from can.models.attention import FEW_TOKENS, attention
from can.run_flops import forward_flops, necessary_matmul_flops, step_flops
from can.weights.load import mae_config


def array(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def matmul(fn, *args) -> int:
    return count_flops(fn, *args).matmul


def square(x):
    return x @ x


SQUARE = 2 * 8**3  # operations of square() on 8 x 8


def test_dot_counts_two_operations_per_multiply_add() -> None:
    assert matmul(jnp.dot, array(3, 5), array(5, 7)) == 2 * 3 * 5 * 7
    batched = lambda x, y: jnp.einsum("bhqd,bkhd->bhqk", x, y)  # noqa: E731
    assert matmul(batched, array(2, 4, 9, 6), array(2, 11, 4, 6)) == 2 * (2 * 4) * 9 * 11 * 6
    assert matmul(lambda x, y: jnp.einsum("ijk,ijk->", x, y), array(3, 5, 7), array(3, 5, 7)) == 2 * 3 * 5 * 7


def test_elementwise_operations_are_counted_apart_and_integers_not_at_all() -> None:
    flops = count_flops(lambda x: jnp.exp(x * 2 + 1).sum(), array(6, 7))
    assert flops == Flops(matmul=0, elementwise=4 * 42)
    integers = jax.ShapeDtypeStruct((6, 7), jnp.int32)
    assert count_flops(lambda i: (i * 2 + 1).sum(), integers).total == 0
    assert count_flops(lambda x, i: x.at[i].add(1.0), array(9), integers).elementwise == 42


def convolve(stride: int = 1, padding: str = "VALID", groups: int = 1):
    return lambda x, w: lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def test_convolution_counts_each_product_with_a_pixel() -> None:
    assert matmul(convolve(), array(2, 9, 8, 3), array(3, 3, 3, 5)) == 2 * 2 * (7 * 6) * 5 * (9 * 3)
    assert matmul(convolve(16), array(2, 224, 224, 3), array(16, 16, 3, 768)) == 2 * 2 * 196 * 768 * 768
    assert matmul(convolve(groups=2), array(2, 9, 8, 6), array(3, 3, 3, 4)) == 2 * 2 * (7 * 6) * 4 * (9 * 3)
    one_line = matmul(convolve(padding="SAME"), array(1, 1, 9, 1), array(1, 3, 1, 1))
    assert one_line == 2 * (9 * 3 - 2)  # the two products with padding are not there


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_convolution_and_its_gradients_cost_what_xla_says(stride: int, groups: int, padding: str) -> None:
    forward = convolve(stride, padding, groups)
    operands = array(4, 11, 10, 6), array(3, 3, 6 // groups, 8)
    x_gradient = jax.grad(lambda x, w: forward(x, w).sum(), argnums=0)
    w_gradient = jax.grad(lambda x, w: forward(x, w).sum(), argnums=1)
    for fn in (forward, x_gradient, w_gradient):
        counted = matmul(jax.jit(fn), *operands)
        assert counted == pytest.approx(jax.jit(fn).lower(*operands).cost_analysis()["flops"], rel=0.03)


def test_calls_are_seen_through() -> None:
    identity = jax.custom_jvp(square)
    identity.defjvp(lambda primals, tangents: (square(*primals), tangents[0]))
    rule = jax.custom_vjp(square)
    rule.defvjp(lambda x: (square(x), None), lambda _, g: (g @ g @ g,))
    for fn in (square, jax.jit(square), jax.jit(jax.jit(square)), jax.checkpoint(square), identity, rule):
        assert matmul(fn, array(8, 8)) == SQUARE
    assert matmul(jax.vmap(square), array(5, 8, 8)) == 5 * SQUARE
    # A custom gradient costs what its rule computes, not what differentiation would.
    assert matmul(jax.value_and_grad(lambda x: rule(x).sum()), array(8, 8)) == (1 + 2) * SQUARE


def test_scan_counts_every_step() -> None:
    def steps(x, length: int):
        return lax.scan(lambda x, _: (square(x), None), x, length=length)[0]

    assert matmul(lambda x: steps(x, 5), array(8, 8)) == 5 * SQUARE
    assert matmul(lambda x: lax.fori_loop(0, 3, lambda _, x: steps(x, 5), x), array(8, 8)) == 15 * SQUARE
    # Differentiated: the forward scan, and two products a step backwards.
    assert matmul(jax.grad(lambda x: steps(x, 5).sum()), array(8, 8)) == 15 * SQUARE


def test_while_counts_once_and_says_so() -> None:
    flops = count_flops(lambda x: lax.while_loop(lambda x: x.sum() < 9, square, x), array(8, 8))
    assert flops.matmul == SQUARE
    assert flops.caveats == ("while: number of iterations unknown, counted once",)
    twice = count_flops(lambda x: lax.scan(lambda x, _: (jnp.linalg.qr(x)[0], None), x, length=2)[0], array(8, 8))
    assert len(twice.caveats) == 1 and "qr" in twice.caveats[0]
    assert not count_flops(square, array(8, 8)).caveats


def test_cond_counts_its_dearest_branch() -> None:
    branches = [lambda x: x, lambda x: square(square(x)), square]
    assert (
        matmul(lambda i, x: lax.switch(i, branches, x), jax.ShapeDtypeStruct((), jnp.int32), array(8, 8)) == 2 * SQUARE
    )


def mlp(params, x):
    for i, (w, b) in enumerate(params):
        x = x @ w + b
        x = jax.nn.relu(x) if i < len(params) - 1 else x
    return (x**2).mean()


WIDTHS = [64, 256, 256, 32]
PARAMS = [(array(m, n), array(n)) for m, n in zip(WIDTHS, WIDTHS[1:], strict=False)]
LAYERS = [2 * 128 * m * n for m, n in zip(WIDTHS, WIDTHS[1:], strict=False)]  # a batch of 128


def test_gradients_cost_twice_the_forward_pass_but_for_the_input() -> None:
    assert matmul(mlp, PARAMS, array(128, 64)) == sum(LAYERS)
    assert matmul(jax.grad(mlp), PARAMS, array(128, 64)) == 3 * sum(LAYERS) - LAYERS[0]


def test_remat_counts_what_is_computed_again() -> None:
    def loss(params, x):
        return jax.checkpoint(mlp)(params, x)

    assert matmul(jax.value_and_grad(loss), PARAMS, array(128, 64)) == 4 * sum(LAYERS) - LAYERS[0]


def test_what_no_result_depends_on_is_not_counted() -> None:
    # The gradient of a product's sum needs no product of the operands themselves.
    assert matmul(jax.grad(lambda x, y: (x @ y).sum()), array(8, 8), array(8, 8)) == SQUARE
    assert matmul(lambda x: lax.scan(lambda x, _: (x + 1, square(x)), x, length=3)[0], array(8, 8)) == 0


@pytest.mark.parametrize("fn", [mlp, jax.grad(mlp)])
def test_an_mlp_costs_what_xlas_cost_analysis_says(fn) -> None:
    operands = PARAMS, array(128, 64)
    xla = jax.jit(fn).lower(*operands).compile().cost_analysis()["flops"]
    assert count_flops(fn, *operands).total == pytest.approx(xla, rel=0.05)


def test_shard_map_counts_the_work_of_all_devices() -> None:
    mesh = AbstractMesh((2, 4), ("data", "model"))
    split = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(P("data"), P(None, "model")), out_specs=P("data", "model"))
    assert matmul(split, array(16, 8), array(8, 12)) == 2 * 16 * 8 * 12
    copied = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(P("data"), P()), out_specs=P("data"))
    assert matmul(copied, array(16, 8), array(8, 12)) == 4 * 2 * 16 * 8 * 12  # the same on each of four


def test_static_arguments_of_a_jitted_function_are_passed_on() -> None:
    power = jax.jit(lambda x, times: lax.fori_loop(0, times, lambda _, x: square(x), x), static_argnames="times")
    assert matmul(power, array(8, 8), 4) == 4 * SQUARE
    assert count_flops(power, array(8, 8), times=4).matmul == 4 * SQUARE


# The models: forward multiply-adds per image, of both views where a method has two.

MASK_RATES = {"can": 0.5, "simclr": 0.0, "mae": 0.75}
PRINTED_GMACS = {
    ("can", "B"): 27.9,
    ("simclr", "B"): 35.0,
    ("mae", "B"): 9.5,
    ("can", "L"): 71.1,
    ("simclr", "L"): 122.5,
    ("mae", "L"): 20.3,
}


def forward_macs(name: str, model: ModelConfig, *, mask_rate: float | None = None, batch: int = 2) -> float:
    """Traced from shapes, so that no model is ever allocated."""
    config = settings_class(name)(mask_rate=MASK_RATES[name] if mask_rate is None else mask_rate)
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build(model, config, rngs=nnx.Rngs(0))))

    def loss(state, views, key):
        return nnx.merge(graphdef, state).loss({"views": views}, key)[0]

    views = array(method_class(name).num_views, batch, model.image_size, model.image_size, 3)
    flops = count_flops(loss, state, views, jax.eval_shape(lambda: jax.random.key(0)))
    assert not flops.caveats
    return flops.macs / batch


def transformer_macs(tokens: int, width: int, depth: int) -> int:
    """A token takes 4 D^2 for queries, keys, values and output, 8 D^2 for the MLP, 2 T D for attention."""
    return depth * tokens * (12 * width**2 + 2 * tokens * width)


def analytic_macs(name: str, width: int, depth: int) -> float:
    """ViT with patches of 16 pixels on 224, decoder 512 x 8, head 4096-4096-128 (paper, App. C)."""
    total, patch = 196, 16 * 16 * 3
    kept = round(total * (1 - MASK_RATES[name]))
    encoder = kept * patch * width + transformer_macs(kept, width, depth)
    decoder = total * width * 512 + transformer_macs(total, 512, 8) + total * 512 * patch
    head = width * 4096 + 4096 * 4096 + 4096 * 128
    sigma_embedding = 2 * width**2
    return {
        "can": 2 * (encoder + decoder + head + sigma_embedding),
        "simclr": 2 * (encoder + head),
        "mae": encoder + decoder,
    }[name]


@pytest.mark.parametrize(("name", "size"), PRINTED_GMACS)
def test_a_method_costs_what_its_architecture_says(name: str, size: str) -> None:
    before = len(jax.live_arrays())
    model = model_config(size, 224)
    counted = forward_macs(name, model)
    assert len(jax.live_arrays()) <= before
    assert counted == pytest.approx(analytic_macs(name, model.width, model.depth), rel=1e-3)
    # 9.5 for MAE at ViT-B has the transformer blocks alone (9.45); with the linear layers around them it is 9.64.
    blocks_only = (name, size) == ("mae", "B")
    assert counted / 1e9 == pytest.approx(PRINTED_GMACS[name, size], rel=0.02 if blocks_only else 0.01)


@pytest.mark.parametrize(("size", "ratio"), [("B", 1.25), ("L", 1.72)])
def test_simclr_costs_more_than_can(size: str, ratio: float) -> None:
    model = model_config(size, 224)
    assert forward_macs("simclr", model) / forward_macs("can", model) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(("size", "pixels"), [("S", 224), ("Ti", 32), ("micro", 28), ("nano", 28)])
def test_simclr_costs_more_than_can_in_the_papers_proportion_at_small_sizes_too(size: str, pixels: int) -> None:
    model = model_config(size, pixels)
    assert 1.3 < forward_macs("simclr", model, batch=64) / forward_macs("can", model, batch=64) < 1.8


@pytest.mark.parametrize("name", MASK_RATES)
def test_loss_and_gradients_cost_what_xlas_cost_analysis_says(name: str) -> None:
    # Unrolled, because XLA counts the body of a loop once.
    model = model_config("nano", 28, depth=3, scan_unroll=3, decoder_depth=1)
    config = settings_class(name)(mask_rate=MASK_RATES[name])
    method = nnx.eval_shape(lambda: build(model, config, rngs=nnx.Rngs(0)))
    graphdef, params, rest = nnx.split(method, nnx.Param, ...)

    def loss(params, rest, views, key):
        return nnx.merge(graphdef, params, rest, copy=True).loss({"views": views}, key)[0]

    views = array(method_class(name).num_views, 32, 28, 28, 3)
    operands = params, rest, views, jax.eval_shape(lambda: jax.random.key(0))
    xla = jax.jit(jax.value_and_grad(loss)).lower(*operands).cost_analysis()["flops"]
    assert count_flops(jax.value_and_grad(loss), *operands).total == pytest.approx(xla, rel=0.05)


def fvcore_macs(model, image_size: int) -> int:
    """By tracing the PyTorch model; fvcore calls a multiply-add a flop."""
    torch, fvcore = pytest.importorskip("torch"), pytest.importorskip("fvcore.nn")
    analysis = fvcore.FlopCountAnalysis(model.eval(), torch.zeros(1, 3, image_size, image_size))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


def test_an_encoder_costs_what_fvcore_counts_for_transformers_vit() -> None:
    transformers = pytest.importorskip("transformers")
    # fvcore knows matrix products but not the fused attention.
    twin = transformers.ViTModel(transformers.ViTConfig(attn_implementation="eager"), add_pooling_layer=False)
    encoder = nnx.eval_shape(lambda: ViT(model_config("B", 224, cls_token=True), rngs=nnx.Rngs(0)))
    graphdef, state = nnx.split(encoder)
    flops = count_flops(lambda state, x: nnx.merge(graphdef, state).features(x), state, array(1, 224, 224, 3))
    assert flops.macs == pytest.approx(fvcore_macs(twin, 224), rel=0.02)


def test_mae_costs_what_fvcore_counts_for_transformers_vit_mae() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTMAEConfig(attn_implementation="eager", layer_norm_eps=1e-6)
    twin = transformers.ViTMAEForPreTraining(config)
    model, method = mae_config(config)
    counted = forward_macs("mae", model, mask_rate=method.mask_rate)
    assert counted == pytest.approx(fvcore_macs(twin, 224), rel=0.02)


@pytest.mark.parametrize(("tokens", "repeated"), [(FEW_TOKENS, 3), (FEW_TOKENS + 1, 1)])
def test_the_attention_that_is_computed_anew_is_told_apart(tokens, repeated):
    """Scores and output forward, and four products of the same size for the gradients; the scores once more.

    With few tokens the scores are computed a third time, transposed, and the gradient of the weights a second.
    """
    q = jnp.ones((6, tokens, 8))
    flops = count_flops(jax.grad(lambda q, k, v: attention(q, k, v).sum(), argnums=(0, 1, 2)), q, q, q)
    product = 2 * 6 * tokens**2 * 8
    assert flops.repeated == repeated * product
    assert flops.matmul == (6 + repeated) * product


@pytest.mark.parametrize("option", [dict(remat="block"), dict(remat="dense"), dict(depth=6)])
def test_what_a_step_has_to_compute_leaves_out_what_saves_memory(option):
    def config(**model):
        run = resolve(scale_named("smoke"), Spec("can", "nano", "in1k", 100), seed=0)
        return dataclasses.replace(run, model=dataclasses.replace(run.model, **model))

    chosen = config(**option)
    necessary, traced = necessary_matmul_flops(chosen), step_flops(chosen)
    assert necessary == necessary_matmul_flops(config(**option | {"remat": "none"}))
    assert necessary < traced.matmul
    # Backward twice as much as forward, but that nothing is passed on to the patches' pixels.
    assert necessary == pytest.approx(3 * forward_flops(chosen).matmul, rel=0.05)
