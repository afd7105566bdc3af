"""The methods: each a module that knows its loss. To add one, add a file and a line to METHODS."""

from __future__ import annotations

from flax import nnx

from can.config import MethodConfig, ModelConfig
from can.errors import ConfigError, check_choice
from can.methods.can import CAN
from can.methods.mae import MAE
from can.methods.method import Batch, Method
from can.methods.pyramid_at import PyramidAT
from can.methods.random_init import RandomInit
from can.methods.simclr import SimCLR
from can.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {
    "can": CAN,
    "mae": MAE,
    "pyramid_at": PyramidAT,
    "random": RandomInit,
    "simclr": SimCLR,
    "supervised": Supervised,
}


def method_class(name: str) -> type[Method]:
    """The class of a method. Raises ConfigError, with the nearest name, for an unknown one."""
    check_choice("method", name, METHODS)
    return METHODS[name]


def check_batch_size(name: str, batch_size: int) -> None:
    """Raises ConfigError if a batch of that many images leaves the method without what it learns from."""
    needed = method_class(name).min_batch
    if batch_size < needed:
        raise ConfigError(
            f"batch_size {batch_size} leaves {name} without negatives: pass a --batch_size of {needed} or more"
        )


def build(model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0) -> Method:
    """A freshly initialised method. `num_classes` is needed by methods that learn from labels.

    Raises ConfigError for settings that this method cannot work with.
    """
    return method_class(method.name)(model, method, rngs=rngs, num_classes=num_classes)


__all__ = ["METHODS", "Batch", "Method", "build", "check_batch_size", "method_class"]
