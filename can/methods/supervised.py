"""Supervised training from scratch: cross-entropy on the encoder's pooled tokens."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.errors import ConfigError
from can.methods.method import Batch, Method, Metrics
from can.models.transformer import dense


class Supervised(Method):
    """The encoder and a linear classifier."""

    num_views = 1
    needs_labels = True

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        if num_classes < 2:
            raise ConfigError("the supervised method needs labelled data: pass a --data with class labels")
        self.classifier = dense(model.width, num_classes, dtype=model.dtype, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """Cross-entropy of one augmented view an image."""
        logits = self.classifier(self.encoder.features(batch["views"][0]))
        loss = objectives.cross_entropy(logits, batch["label"])
        accuracy = jnp.mean(jnp.argmax(logits, axis=-1) == batch["label"])
        return loss, {"loss": loss, "accuracy": accuracy}
