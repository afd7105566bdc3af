"""What each method takes of a scale, and Tables 5-8: one entry a method.

The settings that a method has at every scale are the defaults of its own class, in `can/methods/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from can.errors import ConfigError


@dataclass(frozen=True)
class MethodPreset:
    """A method at the scales.

    Attributes:
      title: what tables call it.
      base_lr: by scale; None for what is not trained.
      crop_area_min: of its views at full resolution; None: SimCLR's. The small scales have one of their own for all.
      always: fields of any part of the configuration, by name, at every scale; and `warmup_share`, of the run's steps.
      at: the same by scale, which go before `always`: a recipe's at `paper`, and what was chosen at the small scales
        (experiments/tune_laptop.py).
      by_epochs: the same at `paper`, of a run's epochs.
      paper_optim: base_lr and weight_decay at `paper` of (is it ViT-L, is it JFT-300M); None: the scale's.
    """

    title: str
    base_lr: dict[str, float] | None
    crop_area_min: float | None = None
    always: dict[str, Any] = field(default_factory=dict)
    at: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_epochs: Callable[[float], dict[str, Any]] | None = None
    paper_optim: Callable[[bool, bool], dict[str, float]] | None = None

    def usual(self, scale: str, epochs: float) -> dict[str, Any]:
        """The fields that a run of so many epochs has otherwise than its scale."""
        of_length = self.by_epochs(epochs) if self.by_epochs and scale == "paper" else {}
        return self.always | self.at.get(scale, {}) | of_length

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return self.base_lr is not None


def _tables_5_and_6(large: bool, on_jft: bool) -> dict[str, float]:
    """On JFT-300M the text divides the learning rate by 4; Table 6 leaves ViT-B's as it is: we follow the table."""
    if large:
        return dict(base_lr=3.125e-5 if on_jft else 1.25e-4, weight_decay=0.05 if on_jft else 0.1)
    return dict(base_lr=2.5e-4, weight_decay=0.05)


def _tables_7_and_8(large: bool, on_jft: bool) -> dict[str, float]:
    """MAE keeps its weight decay on JFT-300M (App. C)."""
    return dict(base_lr=3.75e-5 if on_jft else 1.5e-4, weight_decay=0.05)


def _herrmann(large: bool, on_jft: bool) -> dict[str, float]:
    """Herrmann et al. (2022): 1e-3 at a batch of 4096."""
    return dict(base_lr=6.25e-5, weight_decay=0.1)


_CONTRASTIVE = {"smoke": 1e-3, "laptop": 3e-3, "evening": 3e-3, "overnight": 3e-3, "gpu": 2.5e-4, "paper": 2.5e-4}
# Figure 8's sweeps at the laptop scale: the weights of the losses do not carry over from a batch of 4096.
_CAN_AT_SMALL_SCALES = dict.fromkeys(("laptop", "evening", "overnight"), dict(lambda_infonce=0.25))

_BETA2 = dict(beta2=0.999)
# 1.5e-3 at a batch of 2048, at full resolution.
_TOKENS = {"smoke": 1e-3, "laptop": 3e-3, "evening": 3e-3, "overnight": 3e-3, "gpu": 1.875e-4, "paper": 1.875e-4}
_SMALL = ("laptop", "evening", "overnight")


def _masked(**recipe: Any) -> dict[str, dict[str, Any]]:
    """What optimises the masked-image methods at `paper`: a batch of 2048, and what each has."""
    return {"paper": dict(batch_size=2048, weight_decay=0.05) | recipe}


def _small(**settings: Any) -> dict[str, dict[str, Any]]:
    """Settings of the small scales; at `smoke` the codebook is of few patches, too."""
    return dict.fromkeys(_SMALL, settings) | {"smoke": settings | dict(codes=32, codebook_patches=2048)}


SMALL = ("smoke", "laptop", "evening", "overnight")
# No published result was found for the methods below with so small encoders, images and batches: these are starting
# values (docs/methods.md), to be chosen on held-out training images as the others were.
_START = {"smoke": 1e-3, "laptop": 3e-3, "evening": 3e-3, "overnight": 3e-3, "gpu": 1.5e-4, "paper": 1.5e-4}
_BYOL = _BETA2 | dict(blur_prob=1.0, solarize_prob=0.2)  # the views of its second augmentation
# A teacher's average reaches over 1 / (1 - momentum) steps, which is to be a small part of a run.
_TEACHERS = {"smoke": 0.9, "laptop": 0.97, "evening": 0.99, "overnight": 0.99}
_TEACHERS_AT_SMALL_SCALES = {
    scale: dict(teacher_momentum=momentum, blur_prob=0.0) for scale, momentum in _TEACHERS.items()
}
_LOCAL_CROPS = dict(local_crops=4, local_size=12, local_area_min=0.2, local_area_max=0.6)
_LOCAL_CROPS_AT_SMALL_SCALES = {
    scale: _LOCAL_CROPS | (dict(local_size=14) if scale == "smoke" else {}) for scale in SMALL
}


def _mocov3(epochs: float) -> dict[str, Any]:
    """CONFIG.md of the authors' code: 40 epochs of warm-up in runs of 300."""
    return dict(warmup_epochs=min(40.0, epochs), head_out=256)


def _byol(epochs: float) -> dict[str, Any]:
    """configs/byol.py of the authors' code, which has settings for 40, 100, 300 and 1000 epochs."""
    longest = next((length for length in (40, 100, 300) if epochs <= length), 1000)
    rate, decay, momentum = {
        40: (0.45, 1e-6, 0.97),
        100: (0.45, 1e-6, 0.99),
        300: (0.3, 1e-6, 0.99),
        1000: (0.2, 1.5e-6, 0.996),
    }[longest]
    lars = dict(optimizer="lars", beta1=0.9, base_lr=rate, weight_decay=decay)
    return lars | dict(warmup_epochs=min(10.0, epochs), teacher_momentum=momentum, head_out=256)


def _dino(epochs: float) -> dict[str, Any]:
    """The defaults of the authors' main_dino.py, in epochs."""
    return dict(
        warmup_epochs=min(10.0, epochs),
        temperature_warmup=min(30 / max(epochs, 1.0), 1.0),
        prototypes_frozen=min(1 / max(epochs, 1.0), 1.0),
    )


METHODS = {
    "can": MethodPreset(
        "CAN",
        _CONTRASTIVE,
        at=_CAN_AT_SMALL_SCALES,
        paper_optim=_tables_5_and_6,
    ),
    "simclr": MethodPreset("SimCLR", _CONTRASTIVE, paper_optim=_tables_5_and_6),
    "mae": MethodPreset(
        "MAE",
        {"smoke": 1e-3, "laptop": 6e-3, "evening": 6e-3, "overnight": 6e-3, "gpu": 1.5e-4, "paper": 1.5e-4},
        crop_area_min=0.2,  # He et al.'s
        paper_optim=_tables_7_and_8,
    ),
    "simmim": MethodPreset(  # Xie et al. (2022): 1e-4 at a batch of 512
        "SimMIM",
        {"smoke": 1e-3, "laptop": 6e-3, "evening": 6e-3, "overnight": 6e-3, "gpu": 5e-5, "paper": 5e-5},
        always=_BETA2 | dict(crop_area_min=0.67),
        at=_masked(clip_norm=5.0, warmup_share=10 / 800),
    ),
    "beit": MethodPreset(  # Bao et al. (2022)
        "BEiT",
        _TOKENS,
        always=_BETA2,
        at=_small(codes=256) | _masked(clip_norm=3.0, last_lr=1e-5, warmup_share=10 / 800),
    ),
    "cae": MethodPreset(  # Chen et al. (2024)
        "CAE",
        _TOKENS,
        always=_BETA2,
        at=_small(codes=256, regressor_depth=1, token_decoder_depth=1)
        | _masked(clip_norm=3.0, last_lr=1e-5, warmup_share=20 / 800),
    ),
    "cim": MethodPreset(  # Fang et al. (2022)
        "CIM",
        _TOKENS,
        always=_BETA2,
        at=_small(codes=256, generator_depth=1, normalise="patch") | _masked(warmup_share=10 / 300),
    ),
    "supervised": MethodPreset(  # Table 9 with mixup
        "supervised",
        _CONTRASTIVE,
        always=dict(label_smoothing=0.1, drop_path=0.1, mixup=0.8, rand_augment_layers=2, rand_augment_magnitude=9.0),
    ),
    "pyramid_at": MethodPreset(  # Herrmann et al. (2022)
        "PyramidAT",
        _CONTRASTIVE,
        always=dict(drop_path=0.1, dropout=0.1, mixup=0.5, rand_augment_layers=2, rand_augment_magnitude=15.0),
        paper_optim=_herrmann,
    ),
    "mocov3": MethodPreset(  # Chen et al. (2021)
        "MoCo-v3",
        _START,
        always=_BYOL,
        at=_TEACHERS_AT_SMALL_SCALES | {"paper": dict(base_lr=1.5e-4, weight_decay=0.1, decay_vectors=True)},
        by_epochs=_mocov3,
    ),
    "byol": MethodPreset(  # Grill et al. (2020)
        "BYOL", _START, always=_BYOL, at=_TEACHERS_AT_SMALL_SCALES, by_epochs=_byol
    ),
    "moclr": MethodPreset(  # Tian et al. (2021)
        "MoCLR", _START, always=_BYOL, at=_TEACHERS_AT_SMALL_SCALES, by_epochs=_byol
    ),
    "dino": MethodPreset(  # Caron et al. (2021)
        "DINO",
        _START,
        always=_BYOL | dict(clip_norm=3.0, clip_each=True, weight_decay=0.04, weight_decay_growth=10.0),
        at={
            scale: small | _LOCAL_CROPS_AT_SMALL_SCALES[scale] | dict(prototypes=1024)
            for scale, small in _TEACHERS_AT_SMALL_SCALES.items()
        }
        | {
            "gpu": dict(local_crops=8, local_size=48, crop_area_min=0.4, prototypes=8192),
            "paper": dict(
                base_lr=5e-4,
                last_lr=1e-6,
                batch_size=512,
                head_width=2048,
                head_out=256,
                crop_area_min=0.4,
                local_crops=8,
                local_size=96,
                local_area_min=0.05,
                local_area_max=0.4,
                teacher_temperature=0.07,
            ),
        },
        by_epochs=_dino,
    ),
    "can_teacher": MethodPreset(
        "CAN + teacher",
        _CONTRASTIVE,
        at={
            scale: dict(teacher_momentum=momentum) | _CAN_AT_SMALL_SCALES.get(scale, {})
            for scale, momentum in _TEACHERS.items()
        },
        paper_optim=_tables_5_and_6,
    ),
    "can_crops": MethodPreset(
        "CAN + local crops",
        _CONTRASTIVE,
        at={scale: crops | _CAN_AT_SMALL_SCALES.get(scale, {}) for scale, crops in _LOCAL_CROPS_AT_SMALL_SCALES.items()}
        | {"gpu": dict(local_crops=4, local_size=48), "paper": dict(local_crops=4, local_size=96)},
        paper_optim=_tables_5_and_6,
    ),
    "random": MethodPreset("untrained", None),
    "pixels": MethodPreset("raw pixels", None),
}


def preset(method: str) -> MethodPreset:
    """A method's entry. Raises ConfigError for a method without one: it would have no learning rate."""
    if method not in METHODS:
        raise ConfigError(
            f"method {method!r} has no learning rates: give it an entry in METHODS of can/commands/methods.py"
        )
    return METHODS[method]
