"""Our MAE against He et al.'s, as `transformers` has it: weights copied, the same masks, the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from can.errors import ConfigError
from can.models.positions import sincos_positions
from can.views import patchify
from can.weights.load import mae_config, mae_from

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=[False, True], ids=["pixels", "norm_pix"])
def theirs(request):
    torch.manual_seed(0)
    config = transformers.ViTMAEConfig(
        image_size=32,
        patch_size=8,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=48,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=4,
        decoder_intermediate_size=32,
        mask_ratio=0.75,
        norm_pix_loss=request.param,
        layer_norm_eps=1e-6,
    )
    model = transformers.ViTMAEForPreTraining(config)
    with torch.no_grad():  # biases and norms away from 0 and 1, or a swapped pair would not show
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
        # He et al.'s checkpoints carry positions that encode the column first; a fresh model of transformers 5 the row.
        model.vit.embeddings.position_embeddings[0, 1:] = torch.from_numpy(sincos_positions(4, 24))
        model.decoder.decoder_pos_embed[0, 1:] = torch.from_numpy(sincos_positions(4, 16))
    return model


def test_forward_loss_and_gradients_equal_those_of_transformers(theirs):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 3, 32, 32)).astype(np.float32)
    noise = rng.uniform(size=(5, 16)).astype(np.float32)
    theirs.zero_grad()
    expected = theirs(torch.from_numpy(images), noise=torch.from_numpy(noise))
    expected.loss.backward()

    ours = mae_from(theirs.config, theirs.state_dict())
    graphdef, params = nnx.split(ours)
    patches = patchify(jnp.asarray(images.transpose(0, 2, 3, 1)), 8)
    order = jnp.argsort(jnp.asarray(noise), axis=1)

    def loss_fn(params):
        method = nnx.merge(graphdef, params)
        return method.loss_of(method.inputs_in_order(patches, order))[0]

    loss, grads = jax.jit(jax.value_and_grad(loss_fn))(params)
    np.testing.assert_allclose(loss, expected.loss.item(), rtol=1e-5)

    their_gradients = {
        name: (parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)).numpy()
        for name, parameter in theirs.named_parameters()
    }
    fixed = {name: tensor for name, tensor in theirs.state_dict().items() if "pos" in name}
    as_ours = nnx.state(mae_from(theirs.config, their_gradients | fixed))
    pairs = zip(jax.tree_util.tree_leaves_with_path(grads), jax.tree_util.tree_leaves_with_path(as_ours), strict=True)
    for (path, ours), (_, expected) in pairs:
        np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=1e-4, err_msg=jax.tree_util.keystr(path))
        assert np.abs(expected).max() > 1e-5, path


def test_predictions_equal_those_of_transformers_patch_by_patch(theirs):
    rng = np.random.default_rng(1)
    images = rng.normal(size=(2, 3, 32, 32)).astype(np.float32)
    noise = rng.uniform(size=(2, 16)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images), noise=torch.from_numpy(noise)).logits.numpy()
    ours = mae_from(theirs.config, theirs.state_dict())
    patches = patchify(jnp.asarray(images.transpose(0, 2, 3, 1)), 8)
    order = jnp.argsort(jnp.asarray(noise), axis=1)
    visible = jnp.take_along_axis(patches, order[:, :4, None], axis=1)
    predicted = ours.decoder(ours.encoder(visible, order[:, :4]), order)
    np.testing.assert_allclose(predicted, np.take_along_axis(expected, np.asarray(order)[:, :, None], 1), atol=1e-4)


def test_missing_weights_and_other_architectures_are_refused(theirs):
    weights = dict(theirs.state_dict())
    del weights["decoder.mask_token"]
    with pytest.raises(ConfigError, match="the weights lack mask_token"):
        mae_from(theirs.config, weights)
    weights = dict(theirs.state_dict())
    weights["vit.embeddings.position_embeddings"] = torch.flip(weights["vit.embeddings.position_embeddings"], [2])
    with pytest.raises(ConfigError, match="encoder's fixed positions"):
        mae_from(theirs.config, weights)
    with pytest.raises(ConfigError, match="layer_norm_eps is 1e-12"):
        mae_config(transformers.ViTMAEConfig())
    with pytest.raises(ConfigError, match="exact GELU"):
        mae_config(transformers.ViTMAEConfig(hidden_act="relu"))
