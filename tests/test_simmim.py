"""SimMIM against the one of transformers, its masks, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from can.errors import ConfigError
from can.methods import build, settings_class
from can.methods.simmim import WholeView
from can.models import model_config
from can.models.positions import sincos_positions
from can.views import hidden_of, patchify, unit_order
from can.weights.described import Described
from can.weights.load import encoder_from

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MODEL = model_config("nano", 28, width=16, heads=2, depth=2, mlp_dim=32)
KEY = jax.random.key(3)


def new(**settings):
    return build(MODEL, settings_class("simmim")(**settings), rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=32,
        patch_size=8,
        encoder_stride=8,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        layer_norm_eps=1e-6,
    )
    model = transformers.ViTForMaskedImageModeling(config).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        positions = np.concatenate([np.zeros((1, 24), np.float32), sincos_positions(4, 24)])
        model.vit.embeddings.position_embeddings[0] = torch.from_numpy(positions)
    return model


def as_ours(state, image_size=32):
    """Weights, or gradients, of theirs as ours: encoder, mask token and the last layer, of patches row by row."""
    encoder = encoder_from(state, Described(heads=3, image_size=image_size))
    method = build(encoder.config, settings_class("simmim")(mask_unit=1), rngs=nnx.Rngs(0))
    nnx.update(method.encoder, nnx.state(encoder))
    method.mask_token[...] = jnp.asarray(state["vit.embeddings.mask_token"].numpy().reshape(-1))
    kernel = state["decoder.0.weight"].numpy()[:, :, 0, 0].reshape(3, 8, 8, -1)  # PixelShuffle: channels first
    method.predict.kernel[...] = jnp.asarray(kernel.transpose(1, 2, 0, 3).reshape(192, -1).T)
    method.predict.bias[...] = jnp.asarray(state["decoder.0.bias"].numpy().reshape(3, 8, 8).transpose(1, 2, 0).ravel())
    return method


def test_loss_and_gradients_equal_those_of_transformers(theirs):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 3, 32, 32)).astype(np.float32)
    method = as_ours(theirs.state_dict())
    order = unit_order(KEY, 5, 16, 1)
    hidden = np.array(hidden_of(order, method.num_visible))
    assert hidden.sum() == 5 * 10  # .6 of 16, rounded up
    theirs.zero_grad()
    expected = theirs(torch.from_numpy(images), bool_masked_pos=torch.from_numpy(hidden))
    expected.loss.backward()

    graphdef, params = nnx.split(method)
    patches = patchify(jnp.asarray(images.transpose(0, 2, 3, 1)), 8)

    def loss_fn(params):
        method = nnx.merge(graphdef, params)
        return method.loss_of(WholeView(patches, order))[0]

    loss, grads = jax.jit(jax.value_and_grad(loss_fn))(params)
    np.testing.assert_allclose(loss, expected.loss.item(), rtol=1e-5)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    fixed = {name: tensor for name, tensor in theirs.state_dict().items() if "position" in name}
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(grads),
        jax.tree_util.tree_leaves_with_path(nnx.state(as_ours(gradients | fixed))),
        strict=True,
    )
    for (path, ours), (_, expected_leaf) in pairs:
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(ours, expected_leaf, atol=1e-5, rtol=1e-4, err_msg=where)
        assert np.abs(expected_leaf).max() > 1e-5, where


def test_it_starts_at_the_mean_absolute_value_of_normalised_pixels():
    """An untrained last layer of weights near 0 predicts nearly 0: about 1 on photographs, .8 on normal noise."""
    method = new()
    method.predict.kernel[...] = 0 * method.predict.kernel[...]
    views = jax.random.normal(KEY, (1, 40, 28, 28, 3))
    loss, metrics = method.loss({"views": views}, KEY)
    np.testing.assert_allclose(loss, np.sqrt(2 / np.pi), rtol=0.02)
    assert metrics["loss"] == metrics["reconstruct"] == loss


def test_the_encoder_sees_all_places_and_of_the_masked_ones_only_where_they_are():
    """24 of 36 tokens and 40 of 64 at the small scales; 120 of 196 at the paper's."""
    for size, patch, masked in ((24, 4, 24), (32, 4, 40), (224, 16, 120)):
        model = model_config("nano", size, patch_size=patch)
        method = nnx.eval_shape(lambda model=model: build(model, settings_class("simmim")(), rngs=nnx.Rngs(0)))
        assert model.num_patches - method.num_visible == masked
    method = new()
    inputs = method.inputs({"views": jax.random.normal(KEY, (1, 3, 28, 28, 3))}, KEY)
    tokens = method.encode(inputs)
    assert tokens.shape == (3, 16, 16)
    hidden = hidden_of(inputs.order, method.num_visible)
    other = inputs._replace(patches=jnp.where(hidden[:, :, None], 5.0, inputs.patches))
    np.testing.assert_array_equal(method.encode(other), tokens)


def test_masks_that_hide_nothing_or_everything_and_units_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="mask_rate 0 hides 0 of 4 units of 2x2 patches"):
        new(mask_rate=0.0)
    with pytest.raises(ConfigError, match="mask_rate 0.9 hides 4 of 4 units"):
        new(mask_rate=0.9)
    with pytest.raises(ConfigError, match="mask_unit 3 does not divide the 4x4 patches"):
        new(mask_unit=3)
