"""The encoder, the decoder and the projection head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.stats import norm

from can.errors import ConfigError
from can.models import Decoder, NoiseLevel, ProjectionHead, ViT, model_config
from can.models.attention import FEW_TOKENS, attention
from can.models.gelu import gelu
from can.models.positions import sincos_positions, sinusoid
from can.views import patchify, random_order, shuffle

TINY = dict(width=16, heads=2, depth=3, mlp_dim=32, decoder_width=8, decoder_heads=2, head_width=24)


def tiny(**overrides):
    return model_config("nano", 28, **(TINY | overrides))


def size_of(module):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


@pytest.mark.parametrize(("size", "millions"), [("B", 85.646592), ("L", 303.09888), ("S", 21.589632)])
def test_encoders_have_the_parameters_of_the_standard_sizes(size, millions):
    """85.8 M and 303 M with ViT's learned positions and cls token, of which CAN's encoder has neither."""
    encoder = nnx.eval_shape(lambda: ViT(model_config(size, 224), rngs=nnx.Rngs(0)))
    assert size_of(encoder) == millions * 1e6


def test_positions_are_moco_v3s_and_maes_two_dimensional_sin_cos_table():
    """Against the formula written out: [sin x, cos x, sin y, cos y] of width / 4 frequencies each."""
    table = sincos_positions(3, 8)
    for row in range(3):
        for column in range(3):
            expected = []
            for place in (column, row):
                expected += [np.sin(place / 10000 ** (i / 2)) for i in range(2)]
                expected += [np.cos(place / 10000 ** (i / 2)) for i in range(2)]
            np.testing.assert_allclose(table[3 * row + column], expected, atol=1e-6)


def test_a_finer_grid_covers_the_image_that_the_encoder_was_trained_on():
    """Of 9 x 9 patches, the middle one of each 3 x 3 stands where one of 3 x 3 patches stood."""
    fine = sincos_positions(9, 8, trained_grid=3).reshape(9, 9, 8)
    np.testing.assert_allclose(fine[1::3, 1::3].reshape(9, 8), sincos_positions(3, 8), atol=1e-6)
    encoder = ViT(tiny(), rngs=nnx.Rngs(0))
    images = jax.random.normal(jax.random.key(0), (2, 84, 84, 3))
    larger = encoder.at_size(84)
    tokens = larger.patch_embed(patchify(images, 7).reshape(-1, 147)).reshape(2, 144, 16)
    expected = larger.transformer(tokens + sincos_positions(12, 16, trained_grid=4)).mean(axis=1)
    np.testing.assert_allclose(larger.features(images), expected, atol=1e-5)


def test_the_raw_noise_level_would_hardly_move_the_sinusoid_and_the_scaled_one_does():
    """Why sigma_scale exists: over [0, .05] the embedding of sigma itself changes by about 1 % of its norm."""
    sigma = jnp.array([0.0, 0.05])

    def change(scale):
        low, high = sinusoid(sigma * scale, 768)
        return float(jnp.linalg.norm(high - low) / jnp.linalg.norm(low))

    assert change(1.0) < 0.02
    assert change(1000 / 0.05) > 0.5


def test_every_dense_layer_starts_glorot_uniform():
    """Also the fused query, key and value: three [D, D] matrices, not one [D, 3D]."""
    block = ViT(tiny(width=64, depth=2), rngs=nnx.Rngs(0)).transformer.blocks
    for kernel, fan in ((block.qkv.kernel, 64 + 64), (block.mlp_in.kernel, 64 + 32)):
        bound = np.sqrt(6 / fan)
        assert 0.97 * bound < np.abs(np.asarray(kernel[...])).max() <= bound
    assert not np.asarray(block.qkv.bias[...]).any()


def test_blocks_of_a_stack_start_different():
    kernel = ViT(tiny(), rngs=nnx.Rngs(0)).transformer.blocks.qkv.kernel[...]
    assert kernel.shape[0] == 3
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_the_transformer_is_the_pre_norm_one_of_the_vit_paper():
    """One block and the final norm against numpy."""
    encoder = ViT(tiny(depth=1), rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(2, 5, 16)).astype(np.float32)
    p = jax.tree.map(
        lambda leaf: np.asarray(leaf[0], np.float64), nnx.to_pure_dict(nnx.state(encoder.transformer.blocks))
    )

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    p["mlp_out"]["kernel"] = p["mlp_out"]["kernel"].T  # stored [out, in]

    def linear(x, name):
        return x @ p[name]["kernel"] + p[name]["bias"]

    q, k, v = np.split(linear(norm(x), "qkv"), 3, axis=-1)
    heads = []
    for h in range(2):
        s = slice(8 * h, 8 * h + 8)
        weights = np.exp(q[..., s] @ k[..., s].swapaxes(1, 2) / np.sqrt(8))
        heads.append(weights / weights.sum(-1, keepdims=True) @ v[..., s])
    y = x + linear(np.concatenate(heads, -1), "attention_out")
    hidden = linear(norm(y), "mlp_in")
    erf = np.vectorize(__import__("math").erf)
    y = y + linear(hidden * 0.5 * (1 + erf(hidden / np.sqrt(2))), "mlp_out")
    np.testing.assert_allclose(encoder.transformer(jnp.asarray(x)), norm(y), atol=2e-5)


@pytest.mark.parametrize("option", [dict(remat="dense"), dict(remat="block"), dict(scan_unroll=2), dict(scan_unroll=6)])
def test_remat_and_unrolling_change_no_number(option):
    """Against a stack that is deep enough to be scanned."""
    plain, other = (ViT(tiny(depth=6, **o), rngs=nnx.Rngs(0)) for o in ({}, option))
    images = jax.random.normal(jax.random.key(0), (2, 28, 28, 3))

    def gradient(encoder):
        graphdef, params = nnx.split(encoder)

        def loss_fn(params):
            return jnp.sum(nnx.merge(graphdef, params).features(images)[:, 0] ** 2)

        return jax.jit(jax.grad(loss_fn))(params)

    for a, b in zip(jax.tree.leaves(gradient(plain)), jax.tree.leaves(gradient(other)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "dtype", "tolerance"),
    [
        (5, "float32", 8e-6),
        (FEW_TOKENS + 1, "float32", 3e-5),  # among more scores some are larger, and rounded more
        (5, "bfloat16", 3e-2),
        (FEW_TOKENS + 1, "bfloat16", 3e-2),
    ],
)
def test_attention_and_its_derivative_are_those_of_the_softmax(tokens, dtype, tolerance):
    """Against JAX's own attention, differentiated; scores of several tens, of which exp would overflow without care."""
    size = jnp.array([9, 9, 1, 1])[:, None, None, None]
    q, k, v, gradient = size * jax.random.normal(jax.random.key(0), (4, 6, tokens, 8))

    def expected(q, k, v):  # [B, T, H, D], of one head each
        return jax.nn.dot_product_attention(q[:, :, None], k[:, :, None], v[:, :, None])[:, :, 0]

    out, backward = jax.vjp(attention, *(x.astype(dtype) for x in (q, k, v)))
    assert out.dtype == dtype
    q, k, v, gradient = (x.astype(dtype).astype("float32") for x in (q, k, v, gradient))
    expected_out, expected_backward = jax.vjp(expected, q, k, v)
    found = (out, *backward(gradient.astype(dtype)))
    for a, b in zip(found, (expected_out, *expected_backward(gradient)), strict=True):
        np.testing.assert_allclose(a.astype("float32"), b, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_gelu_and_its_derivative_are_those_of_the_normal_distribution(dtype, tolerance):
    """Against scipy's distribution in double precision, far tails included."""
    x = jnp.concatenate([jnp.linspace(-12, 12, 481), jnp.array([-1e4, 1e4])]).astype(dtype)
    exact = np.asarray(x, np.float64)
    value, pullback = jax.vjp(gelu, x)
    (slope,) = pullback(jnp.ones_like(x))
    assert value.dtype == slope.dtype == x.dtype
    np.testing.assert_allclose(value.astype(float), exact * norm.cdf(exact), rtol=tolerance, atol=tolerance)
    expected = norm.cdf(exact) + exact * norm.pdf(exact)
    np.testing.assert_allclose(slope.astype(float), expected, rtol=tolerance, atol=tolerance)


def test_bfloat16_computes_in_bfloat16_and_stores_float32():
    encoder = ViT(tiny(dtype="bfloat16"), rngs=nnx.Rngs(0))
    patches = jnp.zeros((1, 16, 147))
    assert encoder(patches).dtype == jnp.bfloat16
    assert encoder.features(jnp.zeros((1, 28, 28, 3))).dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(encoder))} == {jnp.dtype("float32")}


def test_visible_patches_are_encoded_as_if_the_others_did_not_exist():
    """The order of the visible patches does not matter, their positions do."""
    encoder = ViT(tiny(), rngs=nnx.Rngs(0))
    patches = patchify(jax.random.normal(jax.random.key(0), (2, 28, 28, 3)), 7)
    order = random_order(jax.random.key(1), 2, 16)[:, :6]
    tokens = encoder(shuffle(patches, order), order)
    backwards = encoder(shuffle(patches, order[:, ::-1]), order[:, ::-1])
    np.testing.assert_allclose(tokens, backwards[:, ::-1], atol=1e-5)
    moved = encoder(shuffle(patches, order), (order + 1) % 16)
    assert np.abs(tokens - moved).max() > 0.1


def test_features_are_the_mean_of_the_layer_normed_patch_tokens():
    images = jax.random.normal(jax.random.key(0), (2, 28, 28, 3))
    plain, with_cls = (ViT(tiny(cls_token=cls), rngs=nnx.Rngs(0)) for cls in (False, True))
    np.testing.assert_allclose(plain.features(images), plain(patchify(images, 7)).mean(axis=1), atol=1e-6)
    tokens = with_cls(patchify(images, 7))
    assert tokens.shape == (2, 17, 16)
    np.testing.assert_allclose(with_cls.features(images), tokens[:, 1:].mean(axis=1), atol=1e-6)


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    encoder = ViT(tiny(depth=2), rngs=nnx.Rngs(0))
    patches = jnp.tile(jax.random.normal(jax.random.key(0), (1, 16, 147)), (500, 1, 1))
    dropped = encoder(patches, drop_path=0.5, key=jax.random.key(1))
    kinds = np.unique(np.round(np.asarray(dropped[:, 0, 0]), 4))
    assert len(kinds) == 4  # the second block's two branches, each kept or not; the first block's rate is 0
    np.testing.assert_array_equal(encoder(patches, drop_path=0.0), encoder(patches))
    with pytest.raises(ValueError, match="key"):
        encoder(patches, drop_path=0.5)


def marked_transformer(depth, **biases):
    """A transformer whose layers only add constants, block l 4^l times those of `biases`; it has no last norm."""
    transformer = jax.tree.map(jnp.zeros_like, ViT(tiny(depth=depth), rngs=nnx.Rngs(0)).transformer)
    for name, value in biases.items():
        layer = getattr(transformer.blocks, name)
        layer.bias[...] = jnp.broadcast_to(value * 4.0 ** jnp.arange(depth)[:, None], layer.bias.shape)
    transformer.norm = lambda x: x
    return transformer


@pytest.mark.parametrize("depth", [2, 6])  # written out and scanned
def test_dropout_drops_entries_behind_attention_and_mlp_of_each_block_independently(depth):
    """Attention adds 4^l and the MLP 2 * 4^l in block l: the bits of the sum say what was kept."""
    transformer = marked_transformer(depth, attention_out=1, mlp_out=2)
    found = np.asarray(transformer(jnp.zeros((64, 5, 16)), dropout=0.25, key=jax.random.key(1))) * 0.75
    sums = np.round(found).astype(int)
    np.testing.assert_allclose(found, sums, rtol=1e-5)
    kept = (sums.reshape(-1, 1) >> np.arange(2 * depth)) & 1
    np.testing.assert_allclose(kept.mean(axis=0), 0.75, atol=0.03)
    assert np.abs(np.corrcoef(kept.T) - np.eye(2 * depth)).max() < 0.06


def test_dropout_drops_entries_of_the_input_and_behind_gelu():
    transformer = marked_transformer(2)
    found = np.asarray(transformer(jnp.ones((64, 5, 16)), dropout=0.25, key=jax.random.key(1))) * 0.75
    assert set(np.unique(found.round(5))) == {0, 1}
    assert found.mean() == pytest.approx(0.75, abs=0.03)

    # Both blocks' hidden entries are 10, and their sums over the first 16 of 32 go to the output.
    transformer = marked_transformer(2)
    transformer.blocks.mlp_in.bias[...] = jnp.full_like(transformer.blocks.mlp_in.bias[...], 10)
    transformer.blocks.mlp_out.kernel[...] = jnp.stack([jnp.eye(16, 32), 2 * jnp.eye(16, 32)])
    found = np.asarray(transformer(jnp.zeros((64, 5, 16)), dropout=0.25, key=jax.random.key(1))) * 0.75**2 / 10
    shares = [np.mean(np.isclose(found, value, rtol=1e-4)) for value in range(4)]
    once = 0.75**2  # kept behind GELU and behind the MLP
    np.testing.assert_allclose(shares, np.outer([1 - once, once], [1 - once, once]).ravel(), atol=0.03)


@pytest.mark.parametrize("depth", [2, 6])  # written out and scanned
def test_no_key_is_used_for_two_purposes(depth):
    """Branches and entries were dropped by one key. JAX's own check finds every such pair."""
    transformer = ViT(tiny(depth=depth), rngs=nnx.Rngs(0)).transformer
    with jax.debug_key_reuse(True):
        for rates in ({"drop_path": 0.5}, {"dropout": 0.25}, {"drop_path": 0.5, "dropout": 0.25}):
            jax.jit(lambda x, key, rates=rates: transformer(x, key=key, **rates))(
                jnp.ones((3, 5, 16)), jax.random.key(1)
            )


def test_dropout_is_a_function_of_its_key_and_needs_one():
    transformer, x = ViT(tiny(depth=2), rngs=nnx.Rngs(0)).transformer, jax.random.normal(jax.random.key(0), (3, 5, 16))
    first, again, other = (transformer(x, dropout=0.25, key=jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    np.testing.assert_array_equal(transformer(x, dropout=0.0, key=jax.random.key(1)), transformer(x))
    with pytest.raises(ValueError, match="dropout > 0 needs a key"):
        transformer(x, dropout=0.25)


def test_decoder_predictions_follow_the_order_of_the_patches():
    """Shuffling visible patches among themselves, and masked ones, only shuffles the predictions."""
    model = tiny()
    decoder = Decoder(model, rngs=nnx.Rngs(0))
    encoded = jax.random.normal(jax.random.key(0), (2, 6, 16))
    order = random_order(jax.random.key(1), 2, 16)
    swap = jnp.concatenate([jnp.arange(6)[::-1], 6 + jnp.arange(10)[::-1]])
    np.testing.assert_allclose(decoder(encoded, order)[:, swap], decoder(encoded[:, ::-1], order[:, swap]), atol=1e-5)


@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_the_noise_level_reaches_every_prediction(tokens):
    decoder = Decoder(tiny(), noise_level=NoiseLevel(1000 / 0.05, tokens), rngs=nnx.Rngs(0))
    encoded, order = jax.random.normal(jax.random.key(0), (2, 6, 16)), random_order(jax.random.key(1), 2, 16)
    low, high = (decoder(encoded, order, jnp.full(2, sigma)) for sigma in (0.001, 0.05))
    assert (np.abs(low - high).max(axis=-1) > 1e-4).all()


def test_a_decoder_in_decoder_width_cannot_be_told_the_noise_level():
    with pytest.raises(ConfigError, match="mask_token"):
        Decoder(tiny(mask_token="decoder"), noise_level=NoiseLevel(1.0, "all"), rngs=nnx.Rngs(0))


def test_projections_have_unit_length_and_the_head_normalises_over_all_rows():
    """BatchNorm over both views and the whole batch: against numpy."""
    head = ProjectionHead(tiny(), rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(10, 16)).astype(np.float32)
    y = x.astype(np.float64)
    for hidden in head.hidden:
        y = y @ np.asarray(hidden.kernel[...])
        y = np.maximum((y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5), 0)
    y = y @ np.asarray(head.out.kernel[...]) + np.asarray(head.out.bias[...])
    u = head(jnp.asarray(x))
    np.testing.assert_allclose(jnp.linalg.norm(u, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(u, y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-4)
    np.testing.assert_allclose(
        head.norms[0].mean[...], 0.1 * (x @ np.asarray(head.hidden[0].kernel[...])).mean(0), atol=1e-5
    )


def test_a_patch_that_does_not_divide_the_image_is_refused():
    with pytest.raises(ConfigError, match="patch_size 16 does not divide image_size 100"):
        model_config("B", 100)


def test_an_unknown_size_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'micro'"):
        model_config("mikro", 28)


def test_a_mask_token_takes_the_place_of_hidden_patches_before_positions_are_added():
    """What is hidden changes nothing; a hidden patch is one whose embedding is the token."""
    config = tiny()
    model = ViT(config, rngs=nnx.Rngs(0))
    patches = jax.random.normal(jax.random.key(0), (2, config.num_patches, config.patch_size**2 * 3))
    hidden = jnp.arange(config.num_patches) % 3 == jnp.arange(2)[:, None]
    token = jax.random.normal(jax.random.key(1), (config.width,))
    out = model(patches, hidden=hidden, mask_token=token)
    noisy = jnp.where(hidden[:, :, None], patches + 1, patches)
    np.testing.assert_array_equal(model(noisy, hidden=hidden, mask_token=token), out)
    kernel, bias = model.patch_embed.kernel[...], model.patch_embed.bias[...]
    standing_for = jnp.linalg.lstsq(kernel.T, token - bias)[0]
    np.testing.assert_allclose(model(jnp.where(hidden[:, :, None], standing_for, patches)), out, atol=1e-4)
    np.testing.assert_array_equal(model(patches, hidden=jnp.zeros_like(hidden), mask_token=token), model(patches))
