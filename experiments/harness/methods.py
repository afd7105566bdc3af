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
      paper_optim: base_lr and weight_decay at `paper` of (is it ViT-L, is it JFT-300M); None: the scale's.
    """

    title: str
    base_lr: dict[str, float] | None
    crop_area_min: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)
    augment: dict[str, Any] = field(default_factory=dict)
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
