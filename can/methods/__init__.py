"""The methods: each a module that knows its loss, and its settings. To add one, add a file to this folder."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from flax import nnx

from can.config import MethodSettings, ModelConfig, RunConfig
from can.errors import ConfigError, check_choice
from can.methods.method import Batch, Method


@functools.cache
def _classes() -> dict[str, type[Method]]:
    """Every class of this folder's files that states a name, by that name, in alphabetical order."""
    found: dict[str, type[Method]] = {}
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Method) and "name" in vars(value)):
                continue
            if found.setdefault(value.name, value) is not value:
                raise ValueError(f"two methods are called {value.name}: {found[value.name]} and {value}")
    return dict(sorted(found.items()))


def method_names() -> tuple[str, ...]:
    """The names of all methods, in alphabetical order."""
    return tuple(_classes())


def method_class(name: str) -> type[Method]:
    """The class of a method. Raises ConfigError, with the nearest name, for an unknown one."""
    check_choice("method", name, method_names())
    return _classes()[name]


def settings_class(name: str) -> type[MethodSettings]:
    """The class of a method's settings. Raises ConfigError, with the nearest name, for an unknown method."""
    return method_class(name).Settings


def check_batch_size(name: str, batch_size: int) -> None:
    """Raises ConfigError if a batch of that many images leaves the method without what it learns from."""
    needed = method_class(name).min_batch
    if batch_size < needed:
        raise ConfigError(
            f"batch_size {batch_size} leaves {name} without negatives: pass a --batch_size of {needed} or more"
        )


def check_local_crops(config: RunConfig) -> None:
    """Raises ConfigError for local crops that the method does not take, or that cannot be encoded."""
    how, model = config.augment, config.model
    if not how.local_crops:
        return
    if method_class(config.method.name).local_view is None:
        raise ConfigError(f"{config.method.name} takes no local crops: leave --local_crops at 0")
    if how.local_size > model.image_size or how.local_size % model.patch_size:
        raise ConfigError(
            f"local crops of {how.local_size} pixels do not fit: pass a --local_size that is a multiple of "
            f"{model.patch_size} and at most the image's {model.image_size}"
        )


def build(config: ModelConfig, settings: MethodSettings, *, rngs: nnx.Rngs, num_classes: int = 0) -> Method:
    """A freshly initialised method. `num_classes` is needed by methods that learn from labels.

    Raises ConfigError for settings that this method cannot work with.
    """
    return method_class(settings.name)(config, settings, rngs=rngs, num_classes=num_classes)


__all__ = [
    "Batch",
    "Method",
    "build",
    "check_batch_size",
    "check_local_crops",
    "method_class",
    "method_names",
    "settings_class",
]
