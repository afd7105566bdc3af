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
      settings: fields of the method's own settings, where a recipe has others than its class.
      tuned: by scale, fields of the method's own settings that were chosen there (experiments/tune_laptop.py).
      augment: other fields of AugmentConfig.
      optim: by scale, other fields of OptimConfig; and `warmup_share`, of the run's steps.
      paper_optim: base_lr and weight_decay at `paper` of (is it ViT-L, is it JFT-300M); None: the scale's.
    """

    title: str
    base_lr: dict[str, float] | None
    crop_area_min: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
    optim: dict[str, dict[str, Any]] = field(default_factory=dict)
    paper_optim: Callable[[bool, bool], dict[str, float]] | None = None

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
_CAN_AT_SMALL_SCALES = dict(lambda_infonce=0.25)

# 1.5e-3 at a batch of 2048, at full resolution.
_TOKENS = {"smoke": 1e-3, "laptop": 3e-3, "evening": 3e-3, "overnight": 3e-3, "gpu": 1.875e-4, "paper": 1.875e-4}
_SMALL = ("laptop", "evening", "overnight")


def _masked_optim(**paper: Any) -> dict[str, dict[str, Any]]:
    """What optimises the masked-image methods: AdamW of (.9, .999); at `paper` a batch of 2048, and what each has."""
    paper = dict(batch_size=2048, weight_decay=0.05) | paper
    return {name: dict(beta2=0.999) | (paper if name == "paper" else {}) for name in _TOKENS}


def _small(**settings: Any) -> dict[str, dict[str, Any]]:
    """Settings of the small scales; at `smoke` the codebook is of few patches, too."""
    return dict.fromkeys(_SMALL, settings) | {"smoke": settings | dict(codes=32, codebook_patches=2048)}


METHODS = {
    "can": MethodPreset(
        "CAN",
        _CONTRASTIVE,
        tuned=dict.fromkeys(("laptop", "evening", "overnight"), _CAN_AT_SMALL_SCALES),
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
        augment=dict(crop_area_min=0.67),
        optim=_masked_optim(clip_norm=5.0, warmup_share=10 / 800),
    ),
    "beit": MethodPreset(  # Bao et al. (2022)
        "BEiT",
        _TOKENS,
        tuned=_small(codes=256),
        optim=_masked_optim(clip_norm=3.0, last_lr=1e-5, warmup_share=10 / 800),
    ),
    "cae": MethodPreset(  # Chen et al. (2024)
        "CAE",
        _TOKENS,
        tuned=_small(codes=256, regressor_depth=1, token_decoder_depth=1),
        optim=_masked_optim(clip_norm=3.0, last_lr=1e-5, warmup_share=20 / 800),
    ),
    "cim": MethodPreset(  # Fang et al. (2022)
        "CIM",
        _TOKENS,
        tuned=_small(codes=256, generator_depth=1, normalise="patch"),
        optim=_masked_optim(warmup_share=10 / 300),
    ),
    "supervised": MethodPreset(  # Table 9 with mixup
        "supervised",
        _CONTRASTIVE,
        settings=dict(label_smoothing=0.1, drop_path=0.1, mixup=0.8),
        augment=dict(rand_augment_layers=2, rand_augment_magnitude=9.0),
    ),
    "pyramid_at": MethodPreset(  # Herrmann et al. (2022)
        "PyramidAT",
        _CONTRASTIVE,
        settings=dict(drop_path=0.1, dropout=0.1, mixup=0.5),
        augment=dict(rand_augment_layers=2, rand_augment_magnitude=15.0),
        paper_optim=_herrmann,
    ),
    "random": MethodPreset("untrained", None),
    "pixels": MethodPreset("raw pixels", None),
}


def preset(method: str) -> MethodPreset:
    """A method's entry. Raises ConfigError for a method without one: it would have no learning rate."""
    if method not in METHODS:
        raise ConfigError(
            f"method {method!r} has no learning rates: give it an entry in METHODS of experiments/harness/methods.py"
        )
    return METHODS[method]
