"""How the laptop scale was chosen: every trial, in the order in which one choice builds on another.

    bash experiments/tune_laptop.sh [--stages=learning_rate,lambda_infonce] [--seeds=0,1,2] [--dry_run]

A linear probe, or finetuning where that is chosen, judges them on the last 10,000 of CIFAR-10's training images; it
learns from the first 40,000, and the test set is not read. Results go to `results/tuning/`. A trial states all that a
later choice has changed, so that `python analysis/make_tuning.py` finds it whatever the scale is today.

The methods that the paper quotes have `--stages=cited_rates,teacher_momentum,local_weight,mask_rate,codes`: six trials
each.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from absl import flags

from can.commands import cli
from can.commands.evaluations import EVALS
from can.commands.evaluations.finetune import Finetune
from can.commands.setting import PUBLISHED, REPOSITORY, RESULTS
from can.commands.spec import Need, Spec
from can.errors import check_choice
from experiments.harness import table

SCALE = "laptop"
HELD_OUT = dict(train_split="train[:40000]", test_split="train[40000:]", probe_epoch_images=0)


@dataclass(frozen=True)
class Stage:
    """A question, with what was tried to answer it.

    Attributes:
      title: what was chosen.
      rule: how, in a sentence.
      trials: by what distinguishes them, the runs of a choice, one a method, each with the evaluation that judges it.
      by_method: whether each method has the choice that is best for it; else one has to be best on average.
      by_gain: whether that is the average of what training adds to an untrained encoder, not of the accuracy.
      kept: the choice that the scale has although the rule finds another one; the rule says why.
    """

    title: str
    rule: str
    trials: Mapping[str, tuple[Need, ...]]
    by_method: bool = False
    by_gain: bool = False
    kept: str = ""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The runs with their evaluation."""
        return tuple(need for needs in self.trials.values() for need in needs)


# What the first trials had: every field that a later choice has changed since.
FIRST: dict[str, Any] = dict(image_size=24, patch_size=4, batch_size=64, crop_area_min=0.3)
FIRST_OF: dict[str, dict[str, Any]] = {
    "can": dict(base_lr=3e-3, lambda_infonce=0.1, sigma_max=0.05, lambda_reconstruct=0.7),
    "simclr": dict(base_lr=3e-3),
    "mae": dict(base_lr=1.5e-3),
}
UNTRAINED = ("random", "pixels")
IMAGES = 42_624  # of a method; at 24 pixels and patches of 4 the three take seven minutes on one core
RATES = (1.5e-3, 3e-3, 6e-3, 1.2e-2)


def _trial(method: str, images: int = IMAGES, **chosen: Any) -> Need:
    """A run on the uncurated images, as the first trials were but for what is `chosen`; nobody trains the UNTRAINED."""
    fields = FIRST | FIRST_OF.get(method, {}) | chosen
    if method in UNTRAINED:
        return Need(Spec(method, "micro", "jft", 0).but(**fields))
    length = dict(total_steps=images // fields["batch_size"], warmup_epochs=40)  # a twentieth
    return Need(Spec(method, "micro", "jft", 800).but(**fields, **length))


def _all(images: int = IMAGES, **chosen: Any) -> tuple[Need, ...]:
    """The three methods."""
    return tuple(_trial(method, images, **chosen) for method in FIRST_OF)


def _shape(images: int, **shape: Any) -> tuple[Need, ...]:
    """The three methods and what nobody trains."""
    return (*_all(images, **shape), *(_trial(method, **shape) for method in UNTRAINED))


def _width(images: int, **shape: Any) -> tuple[Need, ...]:
    """The three methods as the other stages have left them, on another shape of ViT-L's role."""
    chosen = dict(batch_size=32, crop_area_min=0.6) | shape
    rates = {"can": dict(base_lr=3e-3, lambda_infonce=0.25), "simclr": dict(base_lr=3e-3), "mae": dict(base_lr=6e-3)}
    return (*(_trial(method, images, **chosen | rate) for method, rate in rates.items()), _trial("random", **chosen))


# The methods that the paper quotes, and what Sec. 3.6 adds to CAN: as they were before they were tuned, and the one
# setting of each that is tried beside the learning rate. So every method has as many trials.
BEFORE: dict[str, dict[str, Any]] = {
    "mocov3": dict(base_lr=3e-3, teacher_momentum=0.97),
    "byol": dict(base_lr=3e-3, teacher_momentum=0.97),
    "moclr": dict(base_lr=3e-3, teacher_momentum=0.97),
    "dino": dict(base_lr=3e-3, teacher_momentum=0.97),
    "can_teacher": dict(base_lr=3e-3, teacher_momentum=0.97, lambda_infonce=0.25),
    "can_crops": dict(base_lr=3e-3, local_weight=0.5, lambda_infonce=0.25),
    "simmim": dict(base_lr=6e-3, mask_rate=0.6, crop_area_min=0.67),
    "beit": dict(base_lr=3e-3, codes=256),
    "cae": dict(base_lr=3e-3, codes=256),
    "cim": dict(base_lr=3e-3, codes=256),
}
TRIED: dict[str, tuple[float, ...]] = {  # values of the setting, the one of BEFORE among them
    "teacher_momentum": (0.9, 0.97, 0.99),
    "local_weight": (0.25, 0.5, 0.75),
    "mask_rate": (0.45, 0.6, 0.75),
    "codes": (128, 256, 512),
}


def tried(method: str) -> str:
    """The setting of a cited method that is tried beside its learning rate."""
    (name,) = BEFORE[method].keys() & TRIED.keys()
    return name


def _cited(methods: Iterable[str], **chosen: Any) -> tuple[Need, ...]:
    """A run of each of the methods, as they were before they were tuned but for what is `chosen`."""
    return tuple(_trial(name, **dict(batch_size=32, crop_area_min=0.6) | BEFORE[name] | chosen) for name in methods)


def _settings() -> dict[str, Stage]:
    """A stage for each setting of TRIED."""
    return {
        setting: Stage(
            f"The cited methods' {setting}",
            _EACH,
            {
                f"{value:g}": _cited([one for one in BEFORE if tried(one) == setting], **{setting: value})
                for value in values
            },
            by_method=True,
        )
        for setting, values in TRIED.items()
    }


def _figure_8(**chosen: Any) -> tuple[Need, ...]:
    """CAN as Figure 8 has it: ViT-B, 100 epochs of IN-1K."""
    fields = dict(sigma_max=0.05, lambda_reconstruct=0.7) | chosen
    return (Need(Spec("can", "vit_b", "in1k", 100).but(**fields)),)


def _finetuning(recipe: str, **changes: Any) -> str:
    """The name of the evaluation that a trial of finetuning is; it is one of EVALS from now on."""
    name = "_".join([f"finetune_{recipe}", *(f"{field}{value:g}" for field, value in changes.items())])
    EVALS[name] = Finetune(recipe, name, **changes)
    return name


def _finetuned(**changes: Any) -> tuple[Need, ...]:
    """The three methods, ViT-B, 800 epochs of JFT-300M, finetuned otherwise."""
    return tuple(Need(Spec(method, "vit_b", "jft", 800), (_finetuning("paper", **changes),)) for method in FIRST_OF)


def _from_scratch(**changes: Any) -> tuple[Need, ...]:
    """An untrained ViT-B, finetuned otherwise."""
    return (Need(Spec("random", "vit_b", "jft", 0), (_finetuning("scratch", **changes),)),)


FINETUNING: dict[str, dict[str, float]] = {
    "0.003": dict(base_lr=3e-3, mixup=0.0),
    "0.01": dict(base_lr=1e-2, mixup=0.0),
    "0.03": dict(base_lr=3e-2, mixup=0.0),
    "0.01, mixup 0.8": dict(base_lr=1e-2, mixup=0.8),
    "0.03, mixup 0.8": dict(base_lr=3e-2, mixup=0.8),
}
_EACH = "The rule: the highest mean over the seeds, for each method by itself."
_MEAN = "The rule: the highest mean of the methods"
_FIGURE_8 = "The rule: the highest mean over the seeds (Figure 8's sweep); carried to every other run"
STAGES: dict[str, Stage] = {
    "shape": Stage(
        "Resolution and patch, each for as many images as seven minutes on one core are for the three methods together",
        f"{_MEAN}. 24 pixels were chosen when CAN alone had been tried at 28 and 32, level with it after fewer images. "
        "Since all methods are, 32 have the highest mean, but the untrained encoder gains more by these pixels than "
        "the methods do: what training adds in this time, and with it what can tell methods apart, is least there.",
        {
            "24 px, patch 4": _shape(IMAGES),
            "24 px, patch 6": _shape(93_504, patch_size=6),
            "28 px, patch 4": _shape(31_232, image_size=28),
            "32 px, patch 4": _shape(23_360, image_size=32),
        },
        kept="24 px, patch 4",
    ),
    "batch": Stage(
        "Batch, at equal images and learning rates by its size",
        f"{_MEAN}.",
        {"64": _all(), "32": _all(batch_size=32)},
    ),
    "crop_at_64": Stage(
        "Smallest crop at a batch of 64, left for a batch of 32",
        f"{_MEAN}.",
        {"0.15": (_trial("can", crop_area_min=0.15),), "0.3": (_trial("can"),)},
    ),
    "rate_range": Stage(
        "Range of base learning rates, at crops from 0.3",
        "The two best of each method went on to three seeds.",
        {f"{rate:g}": tuple(_trial(method, batch_size=32, base_lr=rate) for method in FIRST_OF) for rate in RATES},
        by_method=True,
    ),
    "crop": Stage(
        "Smallest crop's share of the image, at the first learning rates",
        f"{_MEAN}.",
        {f"{area:g}": _all(batch_size=32, crop_area_min=area) for area in (0.15, 0.3, 0.6)},
    ),
    "learning_rate": Stage(
        "Base learning rate",
        _EACH,
        {f"{rate:g}": _all(batch_size=32, crop_area_min=0.6, base_lr=rate) for rate in (3e-3, 6e-3)},
        by_method=True,
    ),
    "width": Stage(
        "Width and depth of ViT-L's role, for equal operations",
        "The rule: the highest mean of what training adds to the untrained encoder. Wide encoders probe better before "
        "they have learnt anything, and would hide what methods and lengths of training change.",
        {
            "128 × 4": _width(IMAGES, width=128, depth=4, heads=4, mlp_dim=512),
            "160 × 3": _width(38_400, width=160, depth=3, heads=5, mlp_dim=640),
            "192 × 2": _width(40_000, width=192, depth=2, heads=6, mlp_dim=768),
        },
        by_gain=True,
    ),
    "lambda_infonce": Stage(
        "CAN's weight of InfoNCE, λ_InfoNCE",
        f"{_FIGURE_8}. The paper has 0.03.",
        {f"{weight:g}": _figure_8(lambda_infonce=weight) for weight in (0.03, 0.1, 0.25, 0.5)},
    ),
    "sigma_max": Stage(
        "CAN's largest noise, σ_max",
        f"{_FIGURE_8}. The paper has 0.05.",
        {f"{sigma:g}": _figure_8(lambda_infonce=0.25, sigma_max=sigma) for sigma in (0.05, 0.2, 0.5)},
    ),
    "lambda_reconstruct": Stage(
        "CAN's weight of reconstruction, λ, against denoising, 1 − λ",
        f"{_FIGURE_8}. The paper does not print λ; 0.7 is its authors' later code's.",
        {f"{weight:g}": _figure_8(lambda_infonce=0.25, lambda_reconstruct=weight) for weight in (0.5, 0.7, 0.9)},
    ),
    "finetuning": Stage(
        "Finetuning's base learning rate, without and with mixup",
        f"{_MEAN}, which are all finetuned alike.",
        {choice: _finetuned(**changes) for choice, changes in FINETUNING.items()},
    ),
    "from_scratch": Stage(
        "Training from scratch: base learning rate, without and with mixup",
        "The rule: the highest mean over the seeds.",
        {choice: _from_scratch(**changes) for choice, changes in FINETUNING.items()},
        by_method=True,
    ),
    "cited_rates": Stage(
        "The cited methods' base learning rates",
        _EACH,
        {f"{rate:g}": _cited(BEFORE, base_lr=rate) for rate in RATES},
        by_method=True,
    ),
    **_settings(),
}


def set_defaults() -> None:
    """Gives the flags of a setting the values that trials have."""
    folders = dict(
        results_dir=RESULTS / "tuning",
        published_dir=PUBLISHED / "tuning",
        workdir=REPOSITORY / "checkpoints" / "tuning",
    )
    for name, value in (HELD_OUT | folders).items():
        flags.FLAGS.set_default(name, str(value))


def _main() -> None:
    """Makes the trials of --stages."""
    chosen = flags.FLAGS.stages or list(STAGES)
    for name in chosen:
        check_choice("stage", name, STAGES)
    needs = dict.fromkeys(need for name in chosen for need in STAGES[name].needs)
    table.make(tuple(needs), analysis="make_tuning")


if __name__ == "__main__":
    table.define_flags()
    set_defaults()
    flags.FLAGS.set_default("seeds", "0,1,2")
    flags.DEFINE_list("stages", [], f"of {', '.join(STAGES)}; default: all")
    cli.run(_main)
