"""Supervised training from scratch: cross-entropy on the encoder's pooled tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.augment.mixup import mix
from can.config import MethodConfig, ModelConfig
from can.errors import ConfigError
from can.methods.method import Batch, Method, Metrics
from can.models.transformer import dense


class Supervised(Method):
    """The encoder and a linear classifier; mixup, label smoothing and stochastic depth where they are asked for."""

    num_views = 1
    needs_labels = True
    divisible = False  # mixup pairs images, and stochastic depth is drawn inside the encoder

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        if num_classes < 2:
            raise ConfigError(f"{method.name} needs labelled data: pass a --data with class labels")
        self.num_classes = num_classes
        self.classifier = dense(model.width, num_classes, dtype=model.dtype, rngs=rngs)

    def logits(self, views: Float[Array, "batch size size 3"], key: PRNGKeyArray) -> Float[Array, "batch classes"]:
        """The classifier's output; `key` says which residual branches and entries of which images are dropped."""
        rates = dict(drop_path=self.method.drop_path, dropout=self.method.dropout)
        return self.classifier(self.encoder.features(views, **rates, key=key))

    def mixed(
        self, batch: Batch, key: PRNGKeyArray
    ) -> tuple[Float[Array, "batch size size 3"], Float[Array, "batch classes"]]:
        """The views and their targets, smoothed and mixed."""
        targets = objectives.smoothed_targets(batch["label"], self.num_classes, self.method.label_smoothing)
        return mix(key, batch["views"][0], targets, self.method.mixup, 0.0)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """Cross-entropy of one augmented view an image."""
        mix_key, drop_key = jax.random.split(key)
        views, targets = self.mixed(batch, mix_key)
        logits = self.logits(views, drop_key)
        loss = objectives.soft_cross_entropy(logits, targets)
        return loss, {"loss": loss, "accuracy": accuracy(logits, targets)}


def accuracy(logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]) -> Float[Array, ""]:
    """The share of images whose most probable class is that of the largest part of the target."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1))
