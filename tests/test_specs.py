"""Specs: what a table declares, what each scale makes of it (Tables 5-10 at `paper`), and how it is named."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from can import data, methods, train
from can.commands import methods as presets
from can.commands.methods import METHODS, MethodPreset
from can.commands.scales import IN1K_IMAGES, MODEL_ROLES, SCALES
from can.commands.setting import Setting
from can.commands.spec import Need, Spec, grid, resolve
from can.config import RunConfig
from can.errors import ConfigError
from can.runs import run_name
from can.runs.config_file import config_of
from experiments.harness import plan, rows
from experiments.harness.declared import all_needs, declarations

CAN = Spec("can", "vit_b", "in1k", 100)
UNTRAINED = {"random", "pixels"}
LABELLED = ("supervised", "pyramid_at")
TRAINED = sorted(set(METHODS) - UNTRAINED)


def at_paper(method: str, model: str, data: str, epochs: float, **overrides: Any) -> RunConfig:
    return resolve(SCALES["paper"], Spec(method, model, data, epochs), 0, overrides)


def name(setting: Setting, spec: Spec, seed: int = 0) -> str:
    return setting.run(spec, seed).folder.name


@pytest.mark.parametrize(
    ("method", "model", "data", "base_lr", "weight_decay"),
    [
        ("can", "vit_b", "in1k", 2.5e-4, 0.05),  # Table 5
        ("can", "vit_l", "in1k", 1.25e-4, 0.1),
        ("simclr", "vit_l", "in1k", 1.25e-4, 0.1),
        ("can", "vit_b", "jft", 2.5e-4, 0.05),  # Table 6
        ("simclr", "vit_l", "jft", 3.125e-5, 0.05),
        ("mae", "vit_l", "in1k", 1.5e-4, 0.05),  # Table 7
        ("mae", "vit_l", "jft", 3.75e-5, 0.05),  # Table 8
    ],
)
def test_the_papers_learning_rates_and_weight_decays(method, model, data, base_lr, weight_decay):
    optim = at_paper(method, model, data, 800).optim
    assert (optim.base_lr, optim.weight_decay) == (base_lr, weight_decay)
    assert (optim.batch_size, optim.beta1, optim.beta2) == (4096, 0.9, 0.95)
    assert optim.peak_lr == pytest.approx(16 * base_lr)


@pytest.mark.parametrize(("role", "size"), [("vit_b", "B"), ("vit_l", "L")])
@pytest.mark.parametrize(("method", "data"), list(itertools.product(TRAINED, ("in1k", "jft"))))
def test_a_size_has_the_learning_rate_of_the_role_that_it_plays(method, data, role, size):
    assert at_paper(method, size, data, 800).optim == at_paper(method, role, data, 800).optim


def test_the_papers_model_and_method():
    config = at_paper("can", "vit_l", "jft", 5000)
    model, method = config.model, config.method
    assert (model.width, model.depth, model.heads, model.patch_size, model.image_size) == (1024, 24, 16, 16, 224)
    assert (model.decoder_width, model.decoder_depth, model.decoder_heads, model.decoder_mlp_dim) == (512, 8, 16, 2048)
    assert (model.head_width, model.head_depth, model.head_out) == (4096, 2, 128)
    assert (method.mask_rate, method.temperature, method.lambda_infonce, method.sigma_max) == (0.5, 0.1, 0.03, 0.05)
    probe = SCALES["paper"].linear_probe
    assert (probe.base_lr, probe.batch_size, probe.epochs, probe.warmup_epochs) == (0.1, 16384, 100, 10)


@pytest.mark.parametrize(
    ("method", "augmentation", "crop_area_min", "mask_rate"),
    [
        ("can", "simclr", 0.08, 0.5),
        ("simclr", "simclr", 0.08, 0.0),
        ("mae", "mae", 0.2, 0.75),  # He et al.'s
        ("supervised", "mae", 0.08, None),  # crops and flips as MAE does, with the crops of Table 9
        ("pyramid_at", "mae", 0.08, None),
    ],
)
def test_each_methods_views_at_paper(method, augmentation, crop_area_min, mask_rate):
    config = at_paper(method, "vit_b", "in1k", 100)
    assert (config.augment.name, config.augment.crop_area_min) == (augmentation, crop_area_min)
    assert config.augment.color_strength == 1.0
    assert getattr(config.method, "mask_rate", None) == mask_rate


ADAMW = ("adamw", 0.9, 0.999)


@pytest.mark.parametrize(
    ("method", "epochs", "peak_lr", "batch_size", "weight_decay", "warmup", "optimizer", "others"),
    [
        ("mocov3", 300, 1.5e-4 * 16, 4096, 0.1, 40, ADAMW, dict(decay_vectors=True, teacher_momentum=0.99)),
        ("byol", 1000, 0.2 * 16, 4096, 1.5e-6, 10, ("lars", 0.9, None), dict(teacher_momentum=0.996)),
        ("byol", 300, 0.3 * 16, 4096, 1e-6, 10, ("lars", 0.9, None), dict(teacher_momentum=0.99)),
        ("dino", 100, 5e-4 * 2, 512, 0.04, 10, ADAMW, dict(weight_decay_growth=10.0, clip_norm=3.0, clip_each=True)),
        ("dino", 100, 5e-4 * 2, 512, 0.04, 10, ADAMW, dict(last_lr=1e-6, prototypes=65536, local_crops=8)),
        ("simmim", 800, 1e-4 * 4, 2048, 0.05, 10, ADAMW, dict(clip_norm=5.0, mask_rate=0.6, crop_area_min=0.67)),
        ("beit", 800, 1.5e-3, 2048, 0.05, 10, ADAMW, dict(clip_norm=3.0, last_lr=1e-5, codes=8192)),
        ("cae", 800, 1.5e-3, 2048, 0.05, 20, ADAMW, dict(clip_norm=3.0, last_lr=1e-5, alignment_weight=2.0)),
        ("cae", 1600, 1.5e-3, 2048, 0.05, 40, ADAMW, dict(regressor_depth=4, token_decoder_depth=4)),
        ("cim", 300, 1.5e-3, 2048, 0.05, 10, ADAMW, dict(clip_norm=0.0, generator_depth=6, window=8)),
    ],
)
def test_a_cited_methods_own_recipe_at_paper(
    method, epochs, peak_lr, batch_size, weight_decay, warmup, optimizer, others
):
    """As its authors' code has it: docs/methods.md says which."""
    config = at_paper(method, "vit_b", "in1k", epochs)
    optim = config.optim
    assert (optim.peak_lr, optim.batch_size, optim.weight_decay) == (pytest.approx(peak_lr), batch_size, weight_decay)
    assert optim.warmup_steps * batch_size / IN1K_IMAGES == pytest.approx(warmup, abs=0.02)
    name, beta1, beta2 = optimizer
    assert (optim.optimizer, optim.beta1) == (name, beta1) and beta2 in (None, optim.beta2)
    parts = (optim, config.augment, config.method)
    for field, value in others.items():
        assert next(getattr(part, field) for part in parts if hasattr(part, field)) == value, field


def test_the_papers_schedule_counts_imagenet_epochs_and_warms_up_for_forty_or_a_twentieth():
    optim = at_paper("can", "vit_l", "jft", 5000).optim
    assert optim.total_steps == 5000 * IN1K_IMAGES // 4096 == 1563924
    for epochs, warmup in ((100, 5), (400, 20), (800, 40), (1600, 40), (5000, 40)):
        steps = at_paper("can", "vit_b", "in1k", epochs).optim.warmup_steps
        assert steps == pytest.approx(warmup * IN1K_IMAGES / 4096, abs=1)


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_longer_runs_see_more_images_and_never_warm_up_for_less(scale):
    lengths = (100, 200, 400, 800, 1600, 3000, 5000)
    runs = [resolve(SCALES[scale], Spec("can", "vit_b", "jft", epochs), 0).optim for epochs in lengths]
    assert all(a.total_steps < b.total_steps or scale == "smoke" for a, b in itertools.pairwise(runs))
    assert all(a.warmup_steps <= b.warmup_steps for a, b in itertools.pairwise(runs))
    assert all(run.warmup_steps <= 0.05 * run.total_steps + 1 for run in runs)


OF_THE_PAPER = ("can", "simclr", "mae", "supervised", "pyramid_at")  # one batch and one warm-up for all of these


@pytest.mark.parametrize(("scale", "model"), list(itertools.product(sorted(SCALES), MODEL_ROLES)))
def test_all_methods_are_trained_for_as_long_and_warm_up_for_as_long(scale, model):
    """On as many images in any case; only at `paper` does a method of others have its own batch and warm-up."""
    for epochs in (100, 800, 5000):
        optims = {method: resolve(SCALES[scale], Spec(method, model, "jft", epochs), 0).optim for method in TRAINED}
        images = [optim.total_steps * optim.batch_size for optim in optims.values()]
        assert max(images) - min(images) < max(optim.batch_size for optim in optims.values())
        of_one_recipe = [
            (optim.total_steps, optim.warmup_steps, optim.batch_size)
            for method, optim in optims.items()
            if scale != "paper" or method in OF_THE_PAPER
        ]
        assert len(set(of_one_recipe)) == 1
        assert len(of_one_recipe) >= 5


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_every_method_learns_at_every_scale_but_the_baselines(scale):
    for method in methods.method_names():
        optim = resolve(SCALES[scale], Spec(method, "vit_b", "jft", 800), 0).optim
        assert (optim.peak_lr > 0) == (optim.total_steps > 0) == (method not in UNTRAINED)


def test_methods_differ_in_learning_rate_and_augmentation_alone_at_small_scales():
    """Equal effort: the same data, model, batch, steps, schedule and weight decay for all."""
    runs = [resolve(SCALES["laptop"], Spec(m, "vit_l", "jft", 800), 0) for m in ("can", "simclr", "mae")]
    for run in runs[1:]:
        assert (run.data, run.model) == (runs[0].data, runs[0].model)
        assert dataclasses.replace(run.optim, base_lr=0) == dataclasses.replace(runs[0].optim, base_lr=0)


@pytest.mark.parametrize(
    ("spec", "overrides", "message"),
    [
        (CAN, {"drop_path": 0.1}, "can has no setting 'drop_path'"),
        (Spec("mae", "vit_b", "in1k", 100), {"temperature": 0.2}, "mae has no setting 'temperature'"),
        (CAN.but(no_such_field=1), {}, "can has no setting 'no_such_field'"),
        (Spec("random", "vit_b", "in1k", 0), {"total_steps": 3}, "random has no setting 'total_steps'"),
        (CAN, {"batch_size": 0}, "batch_size must lie in"),
        (CAN, {"patch_size": 0}, "patch_size must lie in"),
        (CAN, {"width": -4}, "width must lie in"),
        (CAN, {"batch_size": 64}, "100 epochs are 34 images at the scale smoke, less than a batch of 64"),
        (CAN, {"warmup_steps": 99}, "warmup_steps 99 must lie in"),
        (Spec("can", "vit_b", "in1k", -1), {}, "epochs must lie in"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(spec, overrides, message):
    with pytest.raises(ConfigError, match=message):
        resolve(SCALES["smoke"], spec, 0, overrides)


def test_a_method_without_learning_rates_is_refused_and_never_trains(monkeypatch):
    others = {name: preset for name, preset in presets.METHODS.items() if name != "simclr"}
    monkeypatch.setattr(presets, "METHODS", others)  # not an item taken out, which would come back as the last
    with pytest.raises(ConfigError, match=r"'simclr' has no learning rates: .*can/commands/methods.py"):
        resolve(SCALES["smoke"], Spec("simclr", "vit_b", "in1k", 100), 0)


def test_methods_that_learn_from_labels_have_the_recipes_of_table_9_and_of_pyramid_at():
    supervised, pyramid = (resolve(SCALES["paper"], Spec(name, "vit_b", "in1k", 300), 0) for name in LABELLED)
    method = supervised.method
    assert (method.label_smoothing, method.drop_path, method.dropout, method.mixup) == (0.1, 0.1, 0.0, 0.8)
    method = pyramid.method
    assert (method.label_smoothing, method.drop_path, method.dropout, method.mixup) == (0.0, 0.1, 0.1, 0.5)
    assert supervised.augment.rand_augment_magnitude == 9 and pyramid.augment.rand_augment_magnitude == 15


def test_a_tables_override_reaches_the_rows_that_have_such_a_field():
    needs = [Need(Spec(method, "vit_b", "jft", 800)) for method in ("mae", "can", "random")]
    setting = Setting(SCALES["smoke"], overrides={"temperature": 0.2, "batch_size": 16, "total_steps": 5})
    configs = [own.run(need.spec, 0).config for need, own in setting.for_table(needs)]
    assert [config.optim.batch_size for config in configs] == [16, 16, 16]
    assert [config.optim.total_steps for config in configs] == [5, 5, 0]
    assert configs[1].method.temperature == 0.2
    with pytest.raises(ConfigError, match="no run of this table has the setting --drop_path"):
        dataclasses.replace(setting, overrides={"drop_path": 0.1}).for_table(needs)


def test_an_override_that_equals_the_preset_vanishes_from_the_name():
    setting = Setting(SCALES["laptop"])
    plain = name(setting, CAN)
    assert plain == "can-vitb-in1k-e100-s0"
    assert name(setting, CAN.but(mask_rate=0.5, batch_size=32)) == plain
    assert name(dataclasses.replace(setting, overrides={"mask_rate": 0.5}), CAN) == plain
    assert name(setting, CAN.but(mask_rate=0.25)) == "can-vitb-in1k-e100-mask0.25-s0"
    assert name(dataclasses.replace(setting, overrides={"mask_rate": 0.25}), CAN.but(mask_rate=0.5)) == plain


def test_a_recast_role_is_in_the_name_of_what_is_trained_on_it():
    laptop = SCALES["laptop"]
    recast = Setting(dataclasses.replace(laptop, data=laptop.data | {"in1k": "fashion_mnist", "jft": "folder:/pics"}))
    assert name(recast, CAN) == "can-vitb-in1k-e100-data_fashion_mnist-s0"
    assert "-data_folder_pics_" in name(recast, Spec("can", "vit_b", "jft", 100))


def test_a_grid_has_every_combination_in_order():
    specs = grid(CAN, mask_rate=(0.25, 0.5), sigma_max=(0.0, 0.1))
    assert [dict(spec.overrides) for spec in specs] == [
        {"mask_rate": mask, "sigma_max": sigma} for mask in (0.25, 0.5) for sigma in (0.0, 0.1)
    ]
    assert str(specs[0]) == "can/vit_b/100/mask_rate=0.25/sigma_max=0"
    assert len({name(Setting(SCALES["laptop"]), spec) for spec in specs}) == 4
    assert CAN.but(sigma_max=0.1, mask_rate=0.25) == CAN.but(mask_rate=0.25).but(sigma_max=0.1)


@pytest.mark.parametrize("scale", sorted(SCALES))
def test_a_run_has_the_same_name_by_its_declaration_and_by_what_is_on_disk(scale, tmp_path):
    setting = Setting(SCALES[scale], results_dir=tmp_path / "mine", published_dir=tmp_path / "theirs")
    specs = [need.spec for need in all_needs()]
    by_name: dict[str, RunConfig] = {}
    for spec in [*specs, CAN.but(mask_rate=0.25, lambda_infonce=0.1)]:
        run = setting.run(spec, 3)
        on_disk = config_of(run.config.to_dict())
        plain = resolve(setting.scale, dataclasses.replace(spec, overrides=()), on_disk.seed)
        assert run_name(on_disk, plain, spec.model, spec.data) == run.folder.name
        assert setting.published(spec, 3).name == run.folder.name
        assert setting.published(spec, 3).results == tmp_path / "theirs" / scale / run.folder.name
        # An override by the base's own value is none, and only then do two specs have one name.
        assert by_name.setdefault(run.folder.name, run.config) == run.config


def test_a_seed_that_is_given_twice_counts_once():
    assert plan.seeds(["0", "2", "0"]) == [0, 2]
    for wrong in (["0", "x"], ["-1"], [""], []):
        with pytest.raises(ConfigError, match="--seeds takes whole numbers"):
            plan.seeds(wrong)


def test_rows_are_selected_by_the_parts_of_their_names():
    specs = [Spec("can", "vit_b", "jft", 800), Spec("can", "vit_l", "jft", 800), Spec("can", "vit_l", "jft", 5000)]
    needs = [Need(spec) for spec in specs]
    assert rows.matching(needs, []) == needs
    assert rows.matching(needs, ["can/vit_l"]) == needs[1:]
    assert rows.matching(needs, ["can/vit_l/800"]) == needs[1:2]
    assert rows.matching(needs, ["can/vit_l/5000", "can/vit_b"]) == [needs[0], needs[2]]
    for wrong in ("can/vit_m", "can/vit"):
        with pytest.raises(ConfigError, match=f"no row '{wrong}'; did you mean can/vit_"):
            rows.matching(needs, [wrong])


def test_the_row_that_is_printed_is_one_row_of_every_table():
    """`can/vit_l/800` was two runs of Figure 5, and `can/vit_b/100` every row of Table 1."""
    for needs in declarations().values():
        for need in needs:
            assert {found.spec for found in rows.matching(needs, [rows.row_name(need.spec, needs)])} == {need.spec}
    needs = [Need(Spec("can", "vit_l", data, 800)) for data in ("in1k", "jft")]
    assert rows.matching(needs, ["can/vit_l/800/jft"]) == needs[1:]
    assert rows.matching(needs, ["can/vit_l/800"]) == needs
    close = [Need(CAN.but(mask_rate=rate)) for rate in (0.5, 0.50000001)]
    assert rows.matching(close, [rows.row_name(close[1].spec, close)]) == close[1:]


TOY = '''
"""The mean colour of an image, out of its encoded patches."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from can.config import MethodSettings
from can.methods.method import Method, rows_of
from can.views import patchify


@dataclass(frozen=True)
class ToySettings(MethodSettings):
    name: str = field(default="toy", init=False)
    toy_weight: float = 1.0


class Views(NamedTuple):
    patches: Float[Array, "rows tokens patch_dim"]
    colour: Float[Array, "rows 3"]


class Toy(Method):
    name = "toy"
    Settings = ToySettings
    augmentation = "mae"
    num_views = 1

    def __init__(self, config, settings, *, rngs, num_classes=0):
        super().__init__(config, settings, rngs=rngs)
        self.colour = nnx.Linear(config.width, 3, rngs=rngs)

    def inputs(self, batch, key):
        rows = rows_of(batch["views"])
        return Views(patchify(rows, self.config.patch_size), rows.mean((1, 2)))

    def each_image(self, views):
        pooled = self.encoder.pool(self.encoder(views.patches))
        return None, {"colour": jnp.mean((self.colour(pooled) - views.colour) ** 2)}

    def whole_batch(self, features, means):
        return self.settings.toy_weight * means["colour"], {}
'''


@pytest.fixture
def toy_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A method of a user's own: one file in the folder of methods, one entry of presets."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    methods._classes.cache_clear()
    monkeypatch.setitem(METHODS, "toy", MethodPreset("Toy", dict.fromkeys(SCALES, 1e-2)))
    yield
    sys.modules.pop("can.methods.toy", None)
    methods._classes.cache_clear()


@pytest.mark.usefixtures("toy_method")
def test_a_method_is_added_by_one_file_and_one_preset(tmp_path):
    small = dict(width=16, heads=2, depth=1, mlp_dim=16, total_steps=6)
    setting = Setting(SCALES["smoke"], small, results_dir=tmp_path / "results", workdir=tmp_path / "checkpoints")
    spec = Spec("toy", "vit_b", "in1k", 100).but(toy_weight=2.0)
    run = setting.run(spec, 0)
    assert "-toy_weight2-" in run.folder.name
    with pytest.raises(ConfigError, match="can has no setting 'toy_weight'"):
        setting.run(CAN.but(toy_weight=2.0), 0)
    run.folder.claim(run.config)
    images = data.load("smoke", "train", data_dir=tmp_path)
    train.pretrain(run.config, run.folder, images, checkpoint_every=100, log_every=1)
    log = np.genfromtxt(run.folder.results / "train.csv", delimiter=",", names=True)
    assert log["colour"][-1] < log["colour"][0]
    np.testing.assert_allclose(log["loss"], 2 * log["colour"], rtol=1e-6)
    assert run.folder.config == run.config
