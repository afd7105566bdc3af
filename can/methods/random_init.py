"""No training at all: the encoder as it was initialised, which every trained one has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx

from can.config import MethodSettings, ModelConfig
from can.methods.method import Method


@dataclass(frozen=True)
class RandomInitSettings(MethodSettings):
    """None."""

    name: str = field(default="random", init=False)


class RandomInit(Method):
    """The encoder that every method starts from with the same seed."""

    name = "random"
    Settings = RandomInitSettings
    num_views = 1

    def __init__(self, config: ModelConfig, settings: RandomInitSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
