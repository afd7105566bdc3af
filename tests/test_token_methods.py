"""BEiT, CAE and CIM: against the BEiT of transformers, and what each sees, predicts and refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from can import data
from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve
from can.errors import ConfigError
from can.methods import build, settings_class
from can.methods.beit import BEiT
from can.methods.kinds import replaced, split_method
from can.methods.tokens import TokenisedView, training_patches
from can.models import model_config
from can.models.positions import sincos_positions
from can.tokeniser import codebook
from can.views import block_order, hidden_of, patchify, shuffle
from can.weights.described import Described
from can.weights.load import encoder_from

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MODEL = model_config("nano", 28, width=16, heads=2, depth=1, mlp_dim=32)
KEY = jax.random.key(3)
VIEWS = jax.random.normal(jax.random.key(7), (1, 6, 28, 28, 3))
SHALLOW = {"beit": {}, "cae": dict(regressor_depth=1, token_decoder_depth=1), "cim": dict(generator_depth=1)}


def new(name, codes=8, **settings):
    """A method whose codebook is of the patches of VIEWS."""
    given = dict(codes=codes, codebook_patches=90) | SHALLOW[name] | settings
    method = build(MODEL, settings_class(name)(**given), rngs=nnx.Rngs(0))
    graphdef, params, other = split_method(method)
    made = codebook(KEY, patchify(VIEWS[0], 7).reshape(-1, 147), codes)
    values = {f"tokeniser/{field}": value for field, value in made._asdict().items()}
    return nnx.merge(graphdef, params, replaced(other, values))


def with_gradients(method, inputs):
    graphdef, params, other = split_method(method)

    def loss_fn(params):
        return nnx.merge(graphdef, params, other).loss_of(inputs)

    (_, metrics), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params)
    return metrics, grads


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.BeitConfig(
        image_size=32,
        patch_size=8,
        vocab_size=11,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        layer_norm_eps=1e-6,
        use_mask_token=True,
        use_mean_pooling=True,
        use_absolute_position_embeddings=True,
        layer_scale_init_value=0.0,
        drop_path_rate=0.0,
    )
    model = transformers.BeitForMaskedImageModeling(config).eval()
    with torch.no_grad():  # biases and norms away from 0 and 1
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        positions = np.concatenate([np.zeros((1, 24), np.float32), sincos_positions(4, 24)])
        model.beit.embeddings.position_embeddings[0] = torch.from_numpy(positions)
    return model


def as_ours(state):
    """Weights, or gradients, of theirs as ours."""
    renamed = {name.removeprefix("beit."): tensor for name, tensor in state.items()}
    for name in [name for name in renamed if name.endswith("q_proj.bias")]:
        renamed[name.replace("q_proj", "k_proj")] = torch.zeros_like(renamed[name])  # theirs have none
    head = {name: renamed.pop(name).numpy() for name in ("lm_head.weight", "lm_head.bias")}
    encoder = encoder_from(renamed, Described(heads=3, image_size=32))
    method = build(encoder.config, settings_class("beit")(codes=11), rngs=nnx.Rngs(0))
    nnx.update(method.encoder, nnx.state(encoder))
    method.mask_token[...] = jnp.asarray(renamed["embeddings.mask_token"].numpy().reshape(-1))
    method.predict.kernel[...] = jnp.asarray(head["lm_head.weight"].T)
    method.predict.bias[...] = jnp.asarray(head["lm_head.bias"])
    return method


def test_beits_loss_and_gradients_equal_those_of_transformers(theirs):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 3, 32, 32)).astype(np.float32)
    tokens = rng.integers(0, 11, (5, 16))
    method = as_ours(theirs.state_dict())
    order = block_order(KEY, 5, 16, 16 - method.num_visible, 1)
    hidden = np.array(hidden_of(order, method.num_visible))
    theirs.zero_grad()
    expected = theirs(
        torch.from_numpy(images),
        bool_masked_pos=torch.from_numpy(hidden),
        labels=torch.from_numpy(tokens[hidden]),
    )
    expected.loss.backward()
    masked_tokens = jnp.take_along_axis(jnp.asarray(tokens), order[:, method.num_visible :], axis=1)
    patches = patchify(jnp.asarray(images.transpose(0, 2, 3, 1)), 8)
    metrics, grads = with_gradients(method, TokenisedView(patches, order, masked_tokens))
    np.testing.assert_allclose(metrics["loss"], expected.loss.item(), rtol=1e-5)
    hits = (expected.logits.argmax(-1).numpy() == tokens)[hidden].mean()
    np.testing.assert_allclose(metrics["accuracy"], hits, rtol=1e-6)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    fixed = {name: tensor for name, tensor in theirs.state_dict().items() if "position" in name}
    pairs = zip(
        jax.tree_util.tree_leaves_with_path(grads),
        jax.tree_util.tree_leaves_with_path(split_method(as_ours(gradients | fixed))[1]),
        strict=True,
    )
    for (path, ours), (_, expected_leaf) in pairs:
        where = jax.tree_util.keystr(path)
        np.testing.assert_allclose(ours, expected_leaf, atol=1e-5, rtol=1e-4, err_msg=where)
        assert np.abs(expected_leaf).max() > 1e-5, where


@pytest.mark.parametrize(("name", "extra"), [("beit", 0.0), ("cae", 4.0)])
def test_an_unknowing_head_starts_at_the_logarithm_of_the_number_of_codes(name, extra):
    """CAE's alignment adds 2 * 2: normed tokens that have nothing to do with each other differ by 2 on average."""
    method = new(name)
    method.predict.kernel[...] = 0 * method.predict.kernel[...]
    loss, metrics = method.loss({"views": VIEWS}, KEY)
    np.testing.assert_allclose(metrics["token"], np.log(8), rtol=1e-6)
    np.testing.assert_allclose(loss, np.log(8) + extra, atol=1.5 if extra else 1e-5)
    assert 0 <= metrics["accuracy"] <= 1


def test_cae_encodes_visible_and_masked_patches_apart_and_aligns_with_a_constant():
    """The target is the encoder itself, of the masked patches alone; it gets no gradient of the alignment."""
    method = new("cae", alignment_weight=3.0)
    view = method.inputs({"views": VIEWS}, KEY)
    metrics, grads = with_gradients(method, view)
    shown, masked = view.order[:, :8], view.order[:, 8:]
    target = method.encoder(shuffle(view.patches, masked), masked)
    positions = jnp.asarray(sincos_positions(4, 16))
    z_hat = method.regressor(method.encoder(shuffle(view.patches, shown), shown), positions[masked], positions[shown])
    np.testing.assert_allclose(metrics["alignment"], np.mean((z_hat - target) ** 2), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], metrics["token"] + 3 * metrics["alignment"], rtol=1e-6)
    far = view._replace(patches=view.patches.at[jnp.arange(6)[:, None], masked].multiply(-1))
    other = method.loss_of(far)[1]
    assert other["alignment"] != metrics["alignment"]
    np.testing.assert_allclose(other["token"], metrics["token"], rtol=1e-5)  # the decoder sees no masked patch
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads["regressor"])) > 1e-4


@pytest.mark.parametrize("enhancer", ["respix", "revdet"])
def test_cims_encoder_sees_a_painting_of_the_sampled_tokens_and_sends_the_generator_no_gradient(enhancer):
    method = new("cim", enhancer=enhancer, normalise="patch")
    view = method.inputs({"views": VIEWS}, KEY)
    metrics, grads = with_gradients(method, view)
    alone = with_gradients(new("cim", enhancer=enhancer, normalise="patch", revdet_weight=0.0), view)[1]
    for part in ("generator", "predict_token"):
        for a, b in zip(jax.tree.leaves(grads[part]), jax.tree.leaves(alone[part]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    masked = 9 / 16
    assert 0 < metrics["replaced"] <= masked
    if enhancer == "respix":
        np.testing.assert_allclose(metrics["loss"], metrics["token"] + metrics["reconstruct"], rtol=1e-6)
    else:
        np.testing.assert_allclose(metrics["loss"], metrics["token"] + 10 * metrics["detect"], rtol=1e-6)
        assert 0 <= metrics["detect_accuracy"] <= 1
    # A generator that is certain of the truth replaces nothing: the painting is that of the image's own tokens.
    np.testing.assert_array_equal(method.painting(view.tokens)[0, 0], method.codebook.patches[view.tokens[0, 0]])


def test_a_lucky_sample_counts_as_true_and_sampling_follows_the_prediction():
    method = new("cim", enhancer="revdet")
    method.predict_token.kernel[...] = 0 * method.predict_token.kernel[...]
    method.predict_token.bias[...] = jnp.where(jnp.arange(8) == 5, 50.0, 0.0)  # always the token 5
    view = method.inputs({"views": VIEWS}, KEY)
    masked = jnp.take_along_axis(view.tokens, view.order[:, method.num_visible :], axis=1)
    metrics = method.each_image(view)[1]
    np.testing.assert_allclose(metrics["replaced"], np.mean(masked != 5) * 9 / 16, rtol=1e-6)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(masked == 5), rtol=1e-6)


def test_how_many_patches_are_masked_at_each_size():
    """14 of 36 and 24 of 64 for BEiT, 18 and 32 for CAE, 20 and 36 for CIM; 75, 98 and 110 of 196."""
    for name, counts in (("beit", (14, 24, 75)), ("cae", (18, 32, 98)), ("cim", (20, 36, 110))):
        for (size, patch), count in zip(((24, 4), (32, 4), (224, 16)), counts, strict=True):
            model = model_config("nano", size, patch_size=patch)
            method = nnx.eval_shape(lambda m=model, n=name: build(m, settings_class(n)(), rngs=nnx.Rngs(0)))
            assert model.num_patches - method.num_visible == count


def test_a_codebook_is_made_of_the_runs_own_views(tmp_path):
    """Equal for equal images and keys; of other images, another. Its patches are those of augmented views."""
    from test_masked_training import tiny_config  # beside this file

    config = tiny_config("beit")
    images, others = (data.load("smoke", split, data_dir=tmp_path) for split in ("train[:40]", "train[40:80]"))
    drawn = training_patches(KEY, config, images, 300)
    assert drawn.shape == (300, 147)
    np.testing.assert_allclose(drawn.mean(), 0, atol=1)  # normalised
    made, again, other = (BEiT.prepare(config, of, KEY) for of in (images, images, others))
    assert set(made) == {f"tokeniser/{field}" for field in ("mean", "whitener", "codes", "patches")}
    assert all(np.array_equal(made[name], again[name]) for name in made)
    assert not np.array_equal(made["tokeniser/codes"], other["tokeniser/codes"])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("beit", dict(codes=1), "codes 1 of beit must lie in 2..codebook_patches"),
        ("cae", dict(codes=100, codebook_patches=90), "codes 100 of cae must lie in 2..codebook_patches .90"),
        ("beit", dict(mask_rate=0.0), "mask_rate 0 hides 0 of 16 patches"),
        ("cae", dict(mask_rate=1.0), "mask_rate 1 hides 16 of 16 patches"),
        ("cim", dict(tokeniser="random_projection"), "a random projection does not say"),
        ("cim", dict(window=29), "window 29 is larger than the image"),
    ],
)
def test_what_leaves_nothing_to_learn_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        build(MODEL, settings_class(name)(**settings), rngs=nnx.Rngs(0))


def test_tokens_of_a_random_projection():
    given = settings_class("beit")(codes=8, tokeniser="random_projection")
    method = build(MODEL, given, rngs=nnx.Rngs(0))
    assert set(method.tokeniser) == {"projection", "codes"}
    assert method.inputs({"views": VIEWS}, KEY).tokens.shape == (6, 6)


@pytest.mark.parametrize(
    ("name", "peak_lr", "clip_norm", "last_lr", "warmup_epochs", "crop"),
    [
        ("simmim", 4e-4, 5.0, 0.0, 10, 0.67),
        ("beit", 1.5e-3, 3.0, 1e-5, 10, 0.08),
        ("cae", 1.5e-3, 3.0, 1e-5, 20, 0.08),
    ],
)
def test_the_papers_own_settings_at_800_epochs(name, peak_lr, clip_norm, last_lr, warmup_epochs, crop):
    config = resolve(scale_named("paper"), Spec(name, "vit_b", "in1k", 800), seed=0)
    optim = config.optim
    assert (optim.batch_size, optim.weight_decay, optim.beta1, optim.beta2) == (2048, 0.05, 0.9, 0.999)
    assert (optim.clip_norm, optim.last_lr, config.augment.crop_area_min) == (clip_norm, last_lr, crop)
    np.testing.assert_allclose(optim.peak_lr, peak_lr)
    np.testing.assert_allclose(optim.warmup_steps / optim.total_steps * 800, warmup_epochs, rtol=1e-4)
    assert config.method.mask_rate == {"simmim": 0.6, "beit": 75 / 196, "cae": 0.5}[name]
    own = resolve(scale_named("paper"), Spec(name, "vit_b", "in1k", 800), 0, dict(batch_size=1024, warmup_epochs=40))
    assert (own.optim.batch_size, own.optim.warmup_steps) == (1024, round(own.optim.total_steps / 20))
