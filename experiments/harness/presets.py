"""What each scale is: data, models, schedule and hyper-parameters (Tables 5-8 and 10 of the paper at `paper`).

`in1k`, `jft`, `vit_b` and `vit_l` are roles: a scale says which data set and which model play them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from can.config import (
    AugmentConfig,
    DataConfig,
    FewShotConfig,
    FinetuneConfig,
    LinearProbeConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
)
from can.errors import ConfigError, check_choice
from can.methods import check_batch_size, method_class, settings_class
from can.models import model_config

IN1K_IMAGES = 1281167  # one epoch, as the paper counts them, on JFT-300M too (Sec. 4.1)
MODEL_ROLES = ("vit_b", "vit_l")
DATA_ROLES = ("in1k", "jft")


@dataclass(frozen=True)
class Schedule:
    """How many images an epoch of the paper stands for: `at_800` at 800 epochs, growing as epochs ** exponent."""

    at_800: float
    exponent: float

    def images(self, epochs: float) -> int:
        """Images seen in pre-training, views not counted twice."""
        return round(self.at_800 * (epochs / 800) ** self.exponent)


@dataclass(frozen=True)
class Scale:
    """One column of choices; see SCALES."""

    name: str
    purpose: str
    models: dict[str, str]  # role -> size of can.models.vit.SIZES
    data: dict[str, str]  # role -> name of can.data.load
    test_split: str  # of the "in1k" role
    image_size: int
    schedule: Schedule
    batch_size: int
    base_lr: dict[str, float]  # by method; at `paper`, Tables 5-8 replace it
    weight_decay: float
    augment: dict[str, Any]  # AugmentConfig of SimCLR's views
    linear_probe: LinearProbeConfig
    finetune: FinetuneConfig
    few_shot: FewShotConfig
    checkpoint_every: int  # steps
    log_every: int  # steps
    model_overrides: dict[str, Any] = field(default_factory=dict)
    workers: int = 0  # processes that decode JPEGs
    run_memory_gb: float | None = None  # of one run, where a table makes a run on each core of a CPU at the same time


SMALL_AUGMENT = dict(crop_area_min=0.3)  # the object must stay recognisable in 28 pixels
# Table 10's base_lr of .1 needs far more steps than a small labelled set gives: LARS moves 1/1000 of a weight's norm.
SMALL_PROBE = LinearProbeConfig(base_lr=4.0, batch_size=1024, epochs=40, warmup_epochs=4, cache_features=True)
# Two epochs of small images are too few for Table 9's regularisation: of the settings tried with CAN's `vit_l` on
# held-out training images, none with RandAugment came near those without. Many small steps matter most.
SMALL_FINETUNE = FinetuneConfig(
    base_lr=1e-2,
    batch_size=32,
    epochs=2,
    warmup_epochs=0.2,
    layer_decay=0.75,
    drop_path=0.0,
    rand_augment_layers=0,
    erase_prob=0.0,
    crop_area_min=0.6,
)
# What a recipe changes in a scale's finetuning: "paper" is Table 9 (Sec. 4.1), "mae" is He et al. (2022, App. A.2),
# "scratch" is Table 9 with mixup, for an encoder that nothing was learnt with and whose layers all learn alike.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "mae": dict(weight_decay=0.05, mixup=0.8, cutmix=1.0),
    "scratch": dict(mixup=0.8, layer_decay=1.0),
}
# What He et al. choose for a size of model; the small ones keep their scale's.
MAE_RECIPE = {
    "B": dict(base_lr=5e-4, layer_decay=0.65, epochs=100, drop_path=0.1),
    "L": dict(base_lr=1e-3, layer_decay=0.75, epochs=50, drop_path=0.2),
}

SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            name="smoke",
            purpose="the mechanics, in seconds; its numbers mean nothing",
            models={"vit_b": "nano", "vit_l": "micro"},
            data={"in1k": "smoke", "jft": "smoke"},
            test_split="test",
            image_size=14,
            schedule=Schedule(at_800=96, exponent=0.5),
            batch_size=32,
            base_lr={"can": 1e-3, "simclr": 1e-3, "mae": 1e-3, "supervised": 1e-3, "pyramid_at": 1e-3},
            weight_decay=0.05,
            augment=SMALL_AUGMENT,
            linear_probe=LinearProbeConfig(batch_size=64, epochs=2, warmup_epochs=1, cache_features=True),
            finetune=FinetuneConfig(batch_size=64, epochs=2, warmup_epochs=1),
            few_shot=FewShotConfig(shots=(1, 5), choices=2),
            checkpoint_every=2,
            log_every=1,
        ),
        Scale(
            name="laptop",
            purpose="a table in under half an hour on two cores",
            models={"vit_b": "nano", "vit_l": "micro"},
            data={"in1k": "fashion_mnist", "jft": "offline_mix"},
            test_split="test",
            image_size=28,
            schedule=Schedule(at_800=24_000, exponent=0.55),
            batch_size=64,
            # experiments/tune_laptop.sh; those of the last two were not tuned
            base_lr={"can": 3e-3, "simclr": 3e-3, "mae": 1.5e-3, "supervised": 3e-3, "pyramid_at": 3e-3},
            weight_decay=0.05,
            augment=SMALL_AUGMENT,
            linear_probe=SMALL_PROBE,
            finetune=SMALL_FINETUNE,
            few_shot=FewShotConfig(),
            checkpoint_every=250,
            log_every=100,
            run_memory_gb=2.3,
        ),
        Scale(
            name="overnight",
            purpose="numbers worth comparing, on eight cores or a GPU",
            models={"vit_b": "Ti", "vit_l": "S"},
            data={"in1k": "cifar10", "jft": "offline_mix+cifar10"},
            test_split="test",
            image_size=32,
            model_overrides={"patch_size": 4},
            schedule=Schedule(at_800=1_000_000, exponent=0.6),
            batch_size=512,
            base_lr={"can": 5e-4, "simclr": 5e-4, "mae": 5e-4, "supervised": 5e-4, "pyramid_at": 5e-4},
            weight_decay=0.05,
            augment=SMALL_AUGMENT,
            linear_probe=dataclasses.replace(SMALL_PROBE, epochs=100, warmup_epochs=10),
            finetune=FinetuneConfig(base_lr=2e-3, batch_size=256, epochs=50, crop_area_min=0.3),
            few_shot=FewShotConfig(),
            checkpoint_every=500,
            log_every=50,
        ),
        Scale(
            name="gpu",
            purpose="ImageNet-1K at 96 pixels on one 80 GB GPU",
            models={"vit_b": "S", "vit_l": "B"},
            data={"in1k": "imagenet2012", "jft": "imagenet2012"},
            test_split="validation",
            image_size=96,
            model_overrides={"patch_size": 8, "dtype": "bfloat16"},
            schedule=Schedule(at_800=IN1K_IMAGES * 100, exponent=1.0),
            batch_size=2048,
            base_lr={"can": 2.5e-4, "simclr": 2.5e-4, "mae": 1.5e-4, "supervised": 2.5e-4, "pyramid_at": 2.5e-4},
            weight_decay=0.05,
            augment={},
            linear_probe=LinearProbeConfig(batch_size=4096, epochs=50, warmup_epochs=5),
            finetune=FinetuneConfig(),
            few_shot=FewShotConfig(),
            checkpoint_every=1000,
            log_every=50,
            workers=16,
        ),
        Scale(
            name="paper",
            purpose="the paper's own settings, for a pod",
            models={"vit_b": "B", "vit_l": "L"},
            data={"in1k": "imagenet2012", "jft": "imagenet2012"},
            test_split="validation",
            image_size=224,
            schedule=Schedule(at_800=IN1K_IMAGES * 800, exponent=1.0),
            batch_size=4096,
            base_lr={"can": 2.5e-4, "simclr": 2.5e-4, "mae": 1.5e-4, "supervised": 2.5e-4, "pyramid_at": 2.5e-4},
            weight_decay=0.05,
            augment={},
            linear_probe=LinearProbeConfig(),
            finetune=FinetuneConfig(),
            few_shot=FewShotConfig(resolution="bit"),
            checkpoint_every=1000,
            log_every=50,
            workers=8,
        ),
    )
}
# What methods that learn from labels add to the model's training and to the images (Figure 10): Table 9 with mixup, and
# Herrmann et al. (2022).
FROM_SCRATCH: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "supervised": (
        dict(label_smoothing=0.1, drop_path=0.1, mixup=0.8),
        dict(rand_augment_layers=2, rand_augment_magnitude=9.0),
    ),
    "pyramid_at": (
        dict(drop_path=0.1, dropout=0.1, mixup=0.5),
        dict(rand_augment_layers=2, rand_augment_magnitude=15.0),
    ),
}
WARMUP_EPOCHS = 40  # of the paper's epochs (Tables 5-8) ...
WARMUP_SHARE = 0.05  # ... but at most this share of a run: the 100-epoch ablations do not say


def scale_named(name: str) -> Scale:
    """Raises ConfigError, with the nearest name, for an unknown scale."""
    check_choice("scale", name, SCALES)
    return SCALES[name]


def recipe(name: str, size: str) -> dict[str, Any]:
    """The fields of FinetuneConfig that a recipe sets for a size of model, whatever the scale."""
    check_choice("finetuning recipe", name, RECIPES)
    return RECIPES[name] | (MAE_RECIPE.get(size, {}) if name == "mae" else {})


def paper_optim(method: str, model: str, data: str) -> dict[str, float]:
    """Base learning rate and weight decay of Tables 5-8, for roles of model and data.

    On JFT-300M the text divides learning rates by 4 and weight decays by 2 for all, but Table 6 leaves ViT-B's
    learning rate as it is: we follow the table. MAE keeps its weight decay (App. C).
    """
    on_jft, large = data == "jft", model == "vit_l"
    if method == "pyramid_at":  # Herrmann et al. (2022): 1e-3 at a batch of 4096
        return dict(base_lr=6.25e-5, weight_decay=0.1)
    if method == "mae":
        return dict(base_lr=3.75e-5 if on_jft else 1.5e-4, weight_decay=0.05)
    if large:
        return dict(base_lr=3.125e-5 if on_jft else 1.25e-4, weight_decay=0.05 if on_jft else 0.1)
    return dict(base_lr=2.5e-4, weight_decay=0.05)


def resolve(
    scale_name: str,
    *,
    method: str,
    model: str,
    data: str,
    epochs: float,
    seed: int,
    overrides: dict[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a run at a scale.

    Args:
      scale_name: one of SCALES.
      method: one of can.methods.method_names().
      model: a role, or a size of can.models.vit.SIZES.
      data: a role, or a name of can.data.load.
      epochs: as the paper counts them.
      seed: of initialisation, order, augmentation, masks and noise.
      overrides: values for single fields of the configuration, by their names in can.config. `augmentation`
        and `data_name` stand for the fields named `name`; `warmup_epochs` is converted.

    Raises:
      ConfigError: a name is unknown or a value cannot work.
    """
    scale, given = scale_named(scale_name), dict(overrides or {})
    if epochs < 0:
        raise ConfigError(f"epochs must not be negative: {epochs:g}")

    def pick(config: type, **preset: Any) -> Any:
        fields = {f.name for f in dataclasses.fields(config)} - {"name"}
        return config(**preset | {name: given.pop(name) for name in list(given) if name in fields})

    size = scale.models.get(model, model)
    in_model = {f.name for f in dataclasses.fields(ModelConfig)} - {"size", "image_size"}
    model_fields = scale.model_overrides | {name: given.pop(name) for name in list(given) if name in in_model}
    resolved_model = model_config(size, given.pop("image_size", scale.image_size), **model_fields)

    augmentation = given.pop("augmentation", method_class(method).augmentation)
    crop = {"crop_area_min": 0.2} if augmentation == "mae" and not scale.augment else {}
    regularised, rand_augmented = FROM_SCRATCH.get(method, ({}, {}))
    resolved_method = pick(settings_class(method), **regularised)
    resolved_augment = pick(AugmentConfig, name=augmentation, **(scale.augment | crop | rand_augmented))

    batch_size = given.pop("batch_size", scale.batch_size)
    images = 0 if method == "random" else scale.schedule.images(epochs)
    total_steps = given.pop("total_steps", images // batch_size)
    warmup_epochs = given.pop("warmup_epochs", min(WARMUP_EPOCHS, WARMUP_SHARE * epochs))
    warmup_steps = round(total_steps * warmup_epochs / epochs) if epochs else 0
    rates = dict(base_lr=scale.base_lr.get(method, 0.0), weight_decay=scale.weight_decay)
    if scale.name == "paper" and method in ("can", "simclr", "mae", "pyramid_at"):
        rates = paper_optim(method, model, data)
    optim = pick(OptimConfig, batch_size=batch_size, total_steps=total_steps, warmup_steps=warmup_steps, **rates)
    config = RunConfig(
        scale=scale.name,
        epochs=epochs,
        seed=seed,
        model=resolved_model,
        method=resolved_method,
        augment=resolved_augment,
        data=DataConfig(given.pop("data_name", scale.data.get(data, data))),
        optim=optim,
    )
    if given:
        raise ConfigError(f"a run of {method} has no setting {', '.join(given)}")
    check_batch_size(method, batch_size)
    return config
