"""CAE's regressor against PyTorch's attention, and what it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from can.models.regressor import Regressor

torch = pytest.importorskip("torch")
F = torch.nn.functional
WIDTH, HEADS = 8, 2


def by_torch(weights, visible, masked_positions, visible_positions):
    """The regressor as Chen et al. have it, of weights by name."""

    def norm(name, x):
        return F.layer_norm(x, (WIDTH,), weights[f"{name}.scale"], weights[f"{name}.bias"], eps=1e-6)

    def linear(name, x):
        return x @ weights[f"{name}.kernel"] + weights.get(f"{name}.bias", 0)

    def heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    q = weights["mask_token"].expand(masked_positions.shape)
    positions = torch.cat([visible_positions, masked_positions], dim=1)
    for layer in ("layers.0", "layers.1"):
        context = torch.cat([visible, q], dim=1)
        queries = linear(f"{layer}.queries", norm(f"{layer}.norm_queries", q + masked_positions))
        keys = linear(f"{layer}.keys", norm(f"{layer}.norm_keys", context + positions))
        values = linear(f"{layer}.values", norm(f"{layer}.norm_values", context))
        out = F.scaled_dot_product_attention(heads(queries), heads(keys), heads(values)).transpose(1, 2).flatten(2)
        h = q + weights[f"{layer}.attention_scale"] * linear(f"{layer}.attention_out", out)
        h = norm(f"{layer}.norm_mlp", h)
        q = h + weights[f"{layer}.mlp_scale"] * linear(f"{layer}.mlp_out", F.gelu(linear(f"{layer}.mlp_in", h)))
    return norm("norm", q)


@pytest.mark.parametrize("masked", [5, 18])  # on either side of FEW_TOKENS
def test_the_regressor_and_its_gradients_equal_pytorchs(masked):
    rng = np.random.default_rng(0)
    shapes = [(3, 7, WIDTH), (3, masked, WIDTH), (3, 7, WIDTH)]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    graphdef, params = nnx.split(Regressor(2, WIDTH, HEADS, 16, dtype="float32", rngs=nnx.Rngs(0)))
    # Away from their starts, or a swapped pair of scales or norms would not show.
    params = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), params)

    def score(params, arrays):
        return jnp.sum(jnp.sin(3 * nnx.merge(graphdef, params)(*arrays)))

    flat = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(params)}
    theirs = {name: torch.tensor(np.asarray(leaf[...]), requires_grad=True) for name, leaf in flat.items()}
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = torch.sin(3 * by_torch(theirs, *tensors)).sum()
    expected.backward()
    value, (grads, array_grads) = jax.jit(jax.value_and_grad(score, argnums=(0, 1)))(params, arrays)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
    for path, leaf in nnx.to_flat_state(grads):
        name = ".".join(map(str, path))
        np.testing.assert_allclose(leaf[...], theirs[name].grad, atol=1e-4, rtol=1e-4, err_msg=name)
    for ours, tensor in zip(array_grads, tensors, strict=True):
        np.testing.assert_allclose(ours, tensor.grad, atol=1e-4, rtol=1e-4)


def test_a_masked_place_knows_nothing_but_its_position_and_the_visible_tokens():
    """Places of equal positions get equal predictions; without any block they are the same everywhere."""
    rng = np.random.default_rng(1)
    visible, visible_positions = (jnp.asarray(rng.normal(size=(2, 3, WIDTH)), jnp.float32) for _ in range(2))
    positions = jnp.asarray(np.repeat(rng.normal(size=(2, 2, WIDTH)), 2, axis=1), jnp.float32)
    out = Regressor(1, WIDTH, HEADS, 16, dtype="float32", rngs=nnx.Rngs(0))(visible, positions, visible_positions)
    np.testing.assert_allclose(out[:, 0], out[:, 1], atol=1e-6)
    assert np.abs(out[:, 0] - out[:, 2]).max() > 1e-4
    bare = Regressor(0, WIDTH, HEADS, 16, dtype="float32", rngs=nnx.Rngs(0))(visible, positions, visible_positions)
    np.testing.assert_array_equal(bare, np.broadcast_to(bare[0, 0], bare.shape))
