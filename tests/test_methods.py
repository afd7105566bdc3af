"""CAN, MAE, SimCLR and supervised training: what they compute, and what they refuse."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params
from test_train import tiny_config

from can import methods, objectives
from can.augment import IMAGENET_MEAN, IMAGENET_STD, normalize
from can.errors import ConfigError
from can.evals.encoder import Encoder
from can.methods import build, method_class, method_names, settings_class
from can.methods.mae import MaskedView
from can.methods.pyramid_at import PyramidAT, perturbed, pyramid_levels
from can.models import model_config
from can.runs.config_file import config_of
from can.views import patchify, shuffle

MODEL = model_config("nano", 28, width=16, heads=2, depth=2, mlp_dim=32, decoder_width=8, head_width=24)
VIEWS = jax.random.normal(jax.random.key(7), (2, 5, 28, 28, 3))
KEY = jax.random.key(3)
UNTRAINED = {"random", "pixels"}


def new(name, seed=0, **settings):
    return build(MODEL, settings_class(name)(**settings), rngs=nnx.Rngs(seed), num_classes=4)


def loss_and_gradient(method, given):
    """Of a batch of views, or of inputs that were drawn already."""
    graphdef, params, rest = nnx.split(method, nnx.Param, ...)

    def loss_fn(params):
        merged = nnx.merge(graphdef, params, rest, copy=True)
        return merged.loss(given, KEY) if isinstance(given, dict) else merged.loss_of(given)

    (_, metrics), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params)
    return metrics, grads


def test_can_without_contrast_and_noise_is_mae():
    """lambda_infonce = 0, no noise, the same views, masks and weights: the same loss and the same gradients."""
    can = new("can", lambda_infonce=0.0, sigma_max=0.0)
    mae = new("mae", mask_rate=0.5)
    nnx.update(mae.encoder, nnx.state(can.encoder))
    nnx.update(mae.decoder, nnx.state(can.decoder))
    inputs = can.inputs({"views": VIEWS}, KEY)  # both see what CAN has drawn
    ours, our_gradient = loss_and_gradient(can, inputs)
    theirs, their_gradient = loss_and_gradient(mae, MaskedView(inputs.visible, inputs.order, inputs.target))
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-6)
    for part in ("encoder", "decoder"):
        for a, b in zip(jax.tree.leaves(our_gradient[part]), jax.tree.leaves(their_gradient[part]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(method_names()) - {"pyramid_at"} - UNTRAINED))
def test_a_loss_uses_each_key_for_one_purpose(name):
    """By JAX's own check, with all that is drawn switched on; PyramidAT drops the same in all its passes on purpose."""
    settings = {"drop_path": 0.1, "dropout": 0.1, "mixup": 0.8} if name == "supervised" else {}
    graphdef, state = nnx.split(new(name, **settings))
    batch = {"views": VIEWS, "label": jnp.arange(5) % 4, "local_views": VIEWS[:, :, :14, :14]}
    batch["rates"] = {"teacher_temperature": jnp.float32(0.04)}
    with jax.debug_key_reuse(True):
        jax.jit(lambda state, key: nnx.merge(graphdef, state, copy=True).loss(batch, key)[0])(state, jax.random.key(3))


def test_can_is_the_weighted_sum_of_its_three_losses():
    method = new("can", lambda_infonce=0.2, lambda_reconstruct=0.6)
    _, metrics = method.loss({"views": VIEWS}, KEY)
    expected = 0.2 * metrics["infonce"] + 0.8 * 0.6 * metrics["reconstruct"] + 0.8 * 0.4 * metrics["denoise"]
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)


def test_can_sees_noise_on_visible_patches_and_predicts_it():
    """The denoising loss of a decoder that predicts zero is the mean of sigma^2: sigma_max^2 / 3."""
    method = new("can", sigma_max=0.05)
    method.decoder.predict.kernel[...] = jnp.zeros_like(method.decoder.predict.kernel[...])
    views = jnp.tile(VIEWS, (1, 40, 1, 1, 1))
    _, metrics = method.loss({"views": views}, KEY)
    np.testing.assert_allclose(metrics["denoise"], 0.05**2 / 3, rtol=0.1)
    eps = new("can", sigma_max=0.05, denoise_target="eps")
    eps.decoder.predict.kernel[...] = jnp.zeros_like(eps.decoder.predict.kernel[...])
    np.testing.assert_allclose(eps.loss({"views": views}, KEY)[1]["denoise"], 1, rtol=0.02)


def test_the_reconstruction_target_is_the_clean_view_unless_asked_otherwise():
    """A decoder that predicts zero scores the mean square of its target: sigma^2 more for the noisy one."""
    views = jnp.zeros((2, 50, 28, 28, 3))

    def score(target):
        method = new("can", sigma_max=0.5, reconstruct_target=target)
        method.decoder.predict.kernel[...] = jnp.zeros_like(method.decoder.predict.kernel[...])
        return method.loss({"views": views}, KEY)[1]["reconstruct"]

    assert score("clean") == 0
    np.testing.assert_allclose(score("noisy"), 0.5**2 / 3, rtol=0.2)


def test_table_1s_ablations_drop_the_noise_level_the_denoising_loss_and_the_noise():
    full, loss, noise, none = (
        new("can", **settings)
        for settings in (
            {},
            dict(sigma_embedding=False),
            dict(sigma_embedding=False, denoise_loss=False),
            dict(sigma_max=0.0),
        )
    )
    assert hasattr(full.decoder, "sigma_embedding")
    assert not any(hasattr(method.decoder, "sigma_embedding") for method in (loss, noise, none))
    assert loss.loss({"views": VIEWS}, KEY)[1]["denoise"] > 0
    assert noise.loss({"views": VIEWS}, KEY)[1]["denoise"] == 0
    reconstruct = [m.loss({"views": VIEWS}, KEY)[1]["reconstruct"] for m in (noise, none)]
    assert reconstruct[0] != reconstruct[1]  # the encoder of "+noise" sees noise


def test_simclr_is_equation_1_on_whole_views():
    method = new("simclr", mask_rate=0.0)
    _, metrics = method.loss({"views": VIEWS}, KEY)
    features = method.encoder.features(VIEWS.reshape(10, 28, 28, 3))
    u = new("simclr", mask_rate=0.0).head(features).reshape(2, 5, -1)
    np.testing.assert_allclose(metrics["loss"], objectives.info_nce(u, 0.1), rtol=1e-5)


def test_simclr_with_a_mask_rate_encodes_the_visible_patches_only():
    method = new("simclr", mask_rate=0.5)
    seen, places = method.inputs({"views": VIEWS}, KEY)
    assert seen.shape == (10, 8, 7 * 7 * 3)
    assert all(len(set(row)) == 8 for row in np.asarray(places))
    patches = patchify(VIEWS.reshape(10, 28, 28, 3), 7)
    np.testing.assert_array_equal(seen, shuffle(patches, places))
    u = new("simclr").head(method.encoder.pool(method.encoder(seen, places))).reshape(2, 5, -1)
    np.testing.assert_allclose(method.loss({"views": VIEWS}, KEY)[0], objectives.info_nce(u, 0.1), rtol=1e-5)


def test_mae_encodes_a_quarter_of_one_view():
    method = new("mae", mask_rate=0.75)
    assert method.num_visible == 4
    assert method.num_views == 1


def test_supervised_learns_from_labels():
    method = new("supervised")
    batch = {"views": VIEWS[:1], "label": jnp.array([0, 1, 2, 3, 0])}
    logits = method.classifier(method.encoder.features(VIEWS[0]))
    log_p = logits - jax.nn.logsumexp(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(method.loss(batch, KEY)[0], -log_p[jnp.arange(5), batch["label"]].mean(), rtol=1e-5)
    with pytest.raises(ConfigError, match="labelled data"):
        build(MODEL, settings_class("supervised")(), rngs=nnx.Rngs(0))


def test_supervised_training_smooths_mixes_and_drops_where_asked():
    batch = {"views": VIEWS[:1], "label": jnp.array([0, 1, 2, 3, 0])}
    plain = new("supervised")
    logits = plain.logits(VIEWS[0], KEY)
    smoothed = new("supervised", label_smoothing=0.1).loss(batch, KEY)[0]
    np.testing.assert_allclose(smoothed, objectives.cross_entropy(logits, batch["label"], 0.1), rtol=1e-6)
    assert not np.allclose(new("supervised", mixup=0.8).loss(batch, KEY)[0], plain.loss(batch, KEY)[0])
    dropped = new("supervised", drop_path=0.5)
    assert not np.allclose(dropped.logits(VIEWS[0], KEY), logits)
    np.testing.assert_array_equal(dropped.logits(VIEWS[0], KEY), dropped.logits(VIEWS[0], KEY))


# PyramidAT

IMAGES = normalize(jax.random.uniform(jax.random.key(1), (6, 28, 28, 3)))
LABELS = jnp.array([0, 1, 2, 3, 0, 1])


def test_the_pyramid_is_7_14_and_224_pixels_and_in_proportion_elsewhere():
    assert pyramid_levels(model_config("L", 224)) == (7, 14, 224)
    assert pyramid_levels(MODEL) == (2, 4, 28)
    with pytest.raises(ConfigError, match="multiple of 14"):
        pyramid_levels(model_config("nano", 21))


def test_a_perturbation_is_enlarged_to_blocks_multiplied_and_clipped():
    rng = np.random.default_rng(0)
    pyramid = tuple(jnp.asarray(rng.uniform(-0.02, 0.02, (6, level, level, 3)), jnp.float32) for level in (2, 4, 28))
    pixels = np.asarray(IMAGES) * IMAGENET_STD + IMAGENET_MEAN
    for multiplier, level, block in zip((20, 10, 1), pyramid, (14, 7, 1), strict=True):
        pixels = pixels + multiplier * np.kron(level, np.ones((1, block, block, 1)))
    expected = (np.clip(pixels, 0, 1) - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(perturbed(IMAGES, pyramid), expected, atol=1e-4)


def test_the_attack_stays_in_its_bounds_and_moves_towards_its_targets():
    method = new("pyramid_at")
    target_key = jax.random.key(9)
    goal = jax.random.randint(target_key, (6,), 0, 4)
    attacked = method.attack(IMAGES, KEY, target_key)
    pixels, before = (np.asarray(x) * IMAGENET_STD + IMAGENET_MEAN for x in (attacked, IMAGES))
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5
    assert 20 / 255 < np.abs(pixels - before).max() < 31 * 5 / 255 + 1e-5  # 5 steps of 1/255, times 20 + 10 + 1
    distances = [float(objectives.cross_entropy(method.logits(x, KEY), goal)) for x in (IMAGES, attacked)]
    assert distances[1] < distances[0] - 0.05
    few = new("pyramid_at", attack_epsilon=0.0)
    np.testing.assert_allclose(few.attack(IMAGES, KEY, target_key), IMAGES, atol=1e-5)


def test_no_gradient_flows_through_the_attack(monkeypatch):
    """The loss and its gradient are those of the clean and the attacked images, given as they are."""
    method, batch = new("pyramid_at", drop_path=0.5, dropout=0.1), {"views": IMAGES[None], "label": LABELS}
    attack, made = PyramidAT.attack, []

    def remember(self, *args):
        made.append(attack(self, *args))
        return made[0]

    monkeypatch.setattr(PyramidAT, "attack", remember)
    method.loss(batch, KEY)
    monkeypatch.setattr(PyramidAT, "attack", lambda *_: made[0])
    given_metrics, given_gradient = loss_and_gradient(method, batch)
    monkeypatch.setattr(PyramidAT, "attack", attack)
    metrics, gradient = loss_and_gradient(method, batch)
    np.testing.assert_allclose(metrics["loss"], metrics["clean"] + metrics["adversarial"], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], given_metrics["loss"], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(given_gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_same_is_dropped_for_clean_and_attacked_images():
    """The authors' "matched" dropout: without a perturbation both losses are equal, however much is dropped."""
    method = new("pyramid_at", drop_path=0.5, dropout=0.3, attack_epsilon=0.0)
    _, metrics = method.loss({"views": IMAGES[None], "label": LABELS}, KEY)
    np.testing.assert_allclose(metrics["clean"], metrics["adversarial"], rtol=1e-4)


@pytest.mark.parametrize(("name", "rate"), [("can", 1.0), ("simclr", 1.0), ("mae", 1.0), ("mae", 0.0)])
def test_masking_all_is_refused_and_an_autoencoder_has_to_mask_something(name, rate):
    with pytest.raises(ConfigError, match="mask_rate"):
        new(name, mask_rate=rate)


@pytest.mark.parametrize("settings", [{}, dict(norm_pix=True), dict(reconstruct_target="noisy")])
def test_can_without_a_mask_sees_all_patches_and_has_nothing_to_reconstruct(settings):
    """Figure 7's rate of 0: a reconstruction of exactly 0, and gradients that are numbers."""
    method = new("can", mask_rate=0.0, sigma_max=0.5, **settings)
    assert method.inputs({"views": VIEWS}, KEY).visible.shape == (10, 16, 7 * 7 * 3)
    metrics, grads = loss_and_gradient(method, {"views": VIEWS})
    assert metrics["reconstruct"] == 0
    assert metrics["infonce"] > 0
    assert metrics["denoise"] > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((metrics, grads)))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads["encoder"])) > 0


@pytest.mark.parametrize("off", [dict(denoise_loss=False), dict(sigma_max=0.0)])
def test_without_a_denoising_loss_its_weight_is_the_reconstructions_unless_it_is_dropped(off):
    """Table 1's first rows: .03 and .97, or .03 and .97 * .7 = .679."""
    settings = settings_class("can")
    np.testing.assert_allclose(settings().weights, (0.03, 0.679, 0.291), rtol=1e-12)
    np.testing.assert_allclose(settings(**off).weights, (0.03, 0.97, 0.0), rtol=1e-12)
    np.testing.assert_allclose(settings(**off, rest_without_denoise="dropped").weights, (0.03, 0.679, 0.0), rtol=1e-12)
    for rest, weight in (("reconstruct", 0.97), ("dropped", 0.679)):
        _, metrics = new("can", **off, rest_without_denoise=rest).loss({"views": VIEWS}, KEY)
        assert metrics["denoise"] == 0
        expected = 0.03 * metrics["infonce"] + weight * metrics["reconstruct"]
        np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)


def dots(jaxpr):
    """Every dot product of a jaxpr, those inside of calls and loops too."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from dots(inner)


@pytest.mark.parametrize("name", ["can", "simclr"])
def test_infonce_is_in_float32_whatever_the_encoder_computes_in(name):
    """Every product of the head and of Eq. 1, forward and backward, in the highest precision of float32."""
    model = dataclasses.replace(MODEL, dtype="bfloat16")
    method = build(model, settings_class(name)(), rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(method)
    pooled = jax.random.normal(jax.random.key(2), (10, 16))

    none = {"reconstruct": jnp.zeros(()), "denoise": jnp.zeros(())}

    def loss(state, pooled):
        return nnx.merge(graphdef, state, copy=True).whole_batch(pooled, none)[0]

    differentiated = jax.value_and_grad(loss, argnums=(0, 1), allow_int=True)
    found = list(dots(jax.make_jaxpr(differentiated)(state, pooled).jaxpr))
    assert len(found) >= 3 * 4  # three layers and the similarities, each with the gradients of both of its factors
    for dot in found:
        assert {value.aval.dtype for value in (*dot.invars, *dot.outvars)} == {np.dtype("float32")}
        assert dot.params["precision"] == (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    exact = build(MODEL, settings_class(name)(), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(method.whole_batch(pooled, none)[0], exact.whole_batch(pooled, none)[0], rtol=1e-6)


def test_every_method_starts_from_the_same_encoder():
    """The row of an untrained encoder is the start of the trained ones."""
    reference = jax.tree.leaves(nnx.state(new("random").encoder))
    for name in set(method_names()) - {"pixels"}:
        for a, b in zip(reference, jax.tree.leaves(nnx.state(new(name).encoder)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        methods.method_class("simcrl")


# Settings and discovery


def test_a_method_has_the_settings_it_uses_and_checks_them():
    assert set(dataclasses.asdict(settings_class("simclr")())) == {
        "name", "temperature", "infonce_reduction", "mask_rate"
    }  # fmt: skip
    assert [settings_class(name)().mask_rate for name in ("can", "mae", "simclr")] == [0.5, 0.75, 0.0]
    for name in method_names():
        assert settings_class(name)().name == method_class(name).name == name
    for name, wrong, message in (
        ("can", dict(mask_rate=1.5), "mask_rate must lie in"),
        ("can", dict(temperature=0.0), "temperature must lie in"),
        ("can", dict(sigma_tokens="some"), "unknown sigma_tokens 'some'"),
        ("simclr", dict(infonce_reduction="men"), "did you mean 'mean'"),
        ("pyramid_at", dict(dropout=2.0), "dropout must lie in"),
        ("pyramid_at", dict(attack_step=-1.0), "attack_step must lie in"),
    ):
        with pytest.raises(ConfigError, match=message):
            settings_class(name)(**wrong)


TOY = """
from dataclasses import dataclass, field
from can.config import MethodSettings
from can.methods.method import Method

@dataclass(frozen=True)
class ToySettings(MethodSettings):
    name: str = field(default="toy", init=False)
    strength: float = 2.0

class Toy(Method):
    name = "toy"
    Settings = ToySettings
    num_views = 1
"""


def test_a_method_is_one_file(tmp_path, monkeypatch):
    """A file in the folder of the methods is all that it takes: names, settings and configurations know it."""
    (tmp_path / "toy.py").write_text(TOY)
    before = method_names()
    assert before == tuple(sorted(before))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods._classes.cache_clear()
    try:
        assert set(method_names()) == {*before, "toy"}
        config = dataclasses.replace(tiny_config("random"), method=settings_class("toy")(strength=3.0))
        values = config.to_dict()
        assert values["method"] == {"name": "toy", "strength": 3.0}
        assert config_of(values) == config
        with pytest.raises(ConfigError, match="another version"):
            config_of(values | {"method": {"name": "toy", "mask_rate": 0.5}})
    finally:
        methods._classes.cache_clear()
        sys.modules.pop("can.methods.toy", None)


def test_raw_pixels_are_features_without_parameters():
    method = build(model_config("nano", 14), settings_class("pixels")(), rngs=nnx.Rngs(0))
    encoder = Encoder.from_model(method.encoder)
    images = np.random.default_rng(0).integers(0, 256, (3, 14, 14, 3), np.uint8)
    expected = (images / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(encoder.features(images), expected.reshape(3, -1), atol=1e-5)
    assert encoder.num_features == 14 * 14 * 3
