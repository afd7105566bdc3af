"""No training at all: the encoder as it was initialised, which every trained one has to beat."""

from __future__ import annotations

from flax import nnx

from can.config import MethodConfig, ModelConfig
from can.methods.method import Method


class RandomInit(Method):
    """The encoder that every method starts from with the same seed."""

    num_views = 1

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
