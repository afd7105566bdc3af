"""A run's `config.json`, read back."""

from __future__ import annotations

from typing import Any

from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.errors import ConfigError, first_line
from can.methods import settings_class
from can.models import model_from
from can.system.files import read_json
from can.system.places import Place


def read_config(path: Place) -> RunConfig:
    """The configuration in a file. Raises DataError if it is damaged, ConfigError if another version wrote it."""
    values = read_json(path)
    try:
        return config_of(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}: use the version that wrote it, or delete that folder") from error


def config_of(values: dict[str, Any]) -> RunConfig:
    """The inverse of `RunConfig.to_dict`. Raises ConfigError on fields that this version does not know."""
    try:
        method = dict(values["method"])
        settings = settings_class(method.pop("name"))
        return RunConfig(
            scale=values["scale"],
            epochs=values["epochs"],
            seed=values["seed"],
            model=model_from(values["model"]),
            method=settings(**method),
            augment=AugmentConfig(**values["augment"]),
            data=DataConfig(**values["data"]),
            optim=OptimConfig(**values["optim"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        first = first_line(error)
        raise ConfigError(f"this config.json was written by another version of the code: {first}") from error
