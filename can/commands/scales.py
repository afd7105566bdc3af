"""What each scale is: data, models, schedule and hyper-parameters (Tables 9 and 10 of the paper at `paper`).

`in1k`, `jft`, `vit_b` and `vit_l` are roles: a scale says which data set and which model play them. What differs
between methods is in `methods.py`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from can.config import FewShotConfig, FinetuneConfig, KnnConfig, LinearProbeConfig
from can.errors import check_choice

IN1K_IMAGES = 1281167  # one epoch, as the paper counts them, on JFT-300M too (Sec. 4.1)
MODEL_ROLES = {"vit_b": "ViT-B", "vit_l": "ViT-L"}  # a role and what the paper calls it
DATA_ROLES = {"in1k": "IN-1K", "jft": "JFT-300M"}
WARMUP_SHARE = 0.05  # of a run ...
WARMUP_GROWS_UNTIL = 800  # ... of so many epochs; longer ones warm up as long as it: 40 epochs (Tables 5-8)


@dataclass(frozen=True)
class Schedule:
    """How many images an epoch of the paper stands for: `at_800` at 800 epochs, growing as epochs ** exponent."""

    at_800: float
    exponent: float

    def images(self, epochs: float) -> int:
        """Images seen in pre-training, views not counted twice."""
        return round(self.at_800 * (epochs / 800) ** self.exponent)

    def warmup_images(self, epochs: float) -> float:
        """Images seen in the warm-up: never fewer in a longer run."""
        return WARMUP_SHARE * self.images(min(epochs, WARMUP_GROWS_UNTIL))


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
    weight_decay: float
    augment: dict[str, Any]  # fields of AugmentConfig, of every method's views
    linear_probe: LinearProbeConfig
    finetune: FinetuneConfig
    few_shot: FewShotConfig
    checkpoint_every: int  # steps
    log_every: int  # steps
    knn: KnnConfig = KnnConfig()
    model_overrides: dict[str, Any] = field(default_factory=dict)
    workers: int = 0  # processes that decode JPEGs
    run_memory_gb: float | None = None  # of one run, where a table makes a run on each core of a CPU at the same time
    checkpoint_seconds: float | None = None  # a checkpoint is also made so long after the last one
    keep_every: int | None = None  # steps whose checkpoints are kept for good
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # what one of RECIPES has otherwise here

    def recipe(self, name: str, size: str) -> dict[str, Any]:
        """The fields of FinetuneConfig that a recipe sets for a size of model."""
        check_choice("finetuning recipe", name, RECIPES)
        of_size = MAE_RECIPE.get(size, {}) if name == "mae" else {}
        return RECIPES[name] | of_size | self.recipes.get(name, {})


SMOKE_AUGMENT = dict(crop_area_min=0.3)  # the object must stay recognisable in 28 pixels
SMALL_AUGMENT = dict(crop_area_min=0.6)  # chosen with what else `laptop` has: experiments/tune_laptop.py
# Table 10's base_lr of .1 needs far more steps than a small labelled set gives: LARS moves 1/1000 of a weight's norm.
# Of fewer images than CIFAR-10's, 40 epochs would be too few steps.
SMALL_PROBE = LinearProbeConfig(
    base_lr=4.0, batch_size=1024, epochs=40, warmup_epochs=4, cache_features=True, epoch_images=50_000
)
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
# Two epochs are too few for mixup (the stage `from_scratch` of experiments/tune_laptop.py).
SMALL_RECIPES = {"scratch": dict(mixup=0.0)}
# What a recipe changes in a scale's finetuning: "paper" is Table 9 (Sec. 4.1), "mae" is He et al. (2022, App. A.2),
# "scratch" is Table 9 with mixup, for an encoder that nothing was learnt with and whose layers all learn alike.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "mae": dict(
        weight_decay=0.05,
        mixup=0.8,
        cutmix=1.0,
        rand_augment_policy="timm",
        rand_augment_std=0.5,
        mix_share_of="batch",
        last_lr=1e-6,
        norm_after_pool=True,
    ),
    "scratch": dict(mixup=0.8, layer_decay=1.0),
}
# What He et al. choose for a size of model; the small ones keep their scale's.
MAE_RECIPE = {
    "B": dict(base_lr=5e-4, layer_decay=0.65, epochs=100, drop_path=0.1),
    "L": dict(base_lr=1e-3, layer_decay=0.75, epochs=50, drop_path=0.2),
}

LAPTOP = Scale(
    name="laptop",
    purpose="a table in half an hour on two cores",
    models={"vit_b": "nano", "vit_l": "micro"},
    data={"in1k": "cifar10", "jft": "offline_mix"},
    test_split="test",
    image_size=24,
    model_overrides={"patch_size": 4},
    schedule=Schedule(at_800=64_200, exponent=0.45),  # 100 epochs: 25,000 images; 5000: 146,000
    batch_size=32,
    weight_decay=0.05,
    augment=SMALL_AUGMENT,
    linear_probe=SMALL_PROBE,
    finetune=SMALL_FINETUNE,
    recipes=SMALL_RECIPES,
    few_shot=FewShotConfig(),
    checkpoint_every=500,
    log_every=100,
    run_memory_gb=1.4,
)
EVENING = dataclasses.replace(
    LAPTOP,
    name="evening",
    purpose="`laptop` with three times the training: two hours a seed of Table 2 on two cores",
    schedule=Schedule(at_800=192_600, exponent=0.45),  # 5000 epochs: 439,000 images
    log_every=300,
)

SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            name="smoke",
            purpose="the mechanics, in seconds; its numbers mean nothing",
            models={"vit_b": "nano", "vit_l": "micro"},
            data={"in1k": "smoke", "jft": "smoke"},
            test_split="test",
            image_size=28,  # 16 patches, of which a masking rate of .9 leaves one
            schedule=Schedule(at_800=96, exponent=0.5),
            batch_size=32,
            weight_decay=0.05,
            augment=SMOKE_AUGMENT,
            linear_probe=LinearProbeConfig(batch_size=64, epochs=2, warmup_epochs=1, cache_features=True),
            finetune=FinetuneConfig(batch_size=64, epochs=2, warmup_epochs=1),
            few_shot=FewShotConfig(shots=(1, 5), choices=2),
            checkpoint_every=2,
            log_every=1,
            run_memory_gb=1.5,
        ),
        LAPTOP,
        EVENING,
        Scale(
            name="overnight",
            purpose="the same questions with ten times the training, in a night on two cores",
            models={"vit_b": "micro", "vit_l": "mini"},
            data={"in1k": "cifar10", "jft": "offline_mix"},
            test_split="test",
            image_size=24,
            model_overrides={"patch_size": 4},
            schedule=Schedule(at_800=642_000, exponent=0.45),  # 5000 epochs: 1,460,000 images
            batch_size=32,
            weight_decay=0.05,
            augment=SMALL_AUGMENT,
            linear_probe=SMALL_PROBE,
            finetune=dataclasses.replace(SMALL_FINETUNE, epochs=10, warmup_epochs=1),
            few_shot=FewShotConfig(),
            checkpoint_every=2000,
            log_every=500,
            run_memory_gb=1.4,
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
            weight_decay=0.05,
            augment={},
            linear_probe=LinearProbeConfig(batch_size=4096, epochs=50, warmup_epochs=5),
            finetune=FinetuneConfig(),
            few_shot=FewShotConfig(),
            checkpoint_every=1000,
            checkpoint_seconds=600,
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
            weight_decay=0.05,
            augment={},
            linear_probe=LinearProbeConfig(),
            finetune=FinetuneConfig(),
            few_shot=FewShotConfig(resolution="bit"),
            checkpoint_every=1000,
            checkpoint_seconds=600,
            log_every=50,
            workers=8,
        ),
    )
}


def scale_named(name: str) -> Scale:
    """Raises ConfigError, with the nearest name, for an unknown scale."""
    check_choice("scale", name, SCALES)
    return SCALES[name]
