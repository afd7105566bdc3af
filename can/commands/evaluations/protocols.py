"""What a protocol states, so that results of before a setting existed stay results of its default."""

from __future__ import annotations

import dataclasses
from typing import Any

from can.config import AugmentConfig

# Settings of augmentation that no file of before they existed can name.
LATER = ("solarize_prob", "local_crops", "local_size", "local_area_min", "local_area_max")


def augmentation(config: AugmentConfig) -> dict[str, Any]:
    """The settings of augmentation, without those of LATER that are the default's."""
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    settings = dataclasses.asdict(config)
    return {name: value for name, value in settings.items() if name not in LATER or value != usual[name]}
