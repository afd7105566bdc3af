"""Supervised training from scratch: cross-entropy on the encoder's pooled tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.augment.mixup import mix
from can.config import MethodSettings, ModelConfig
from can.errors import ConfigError
from can.fields import NotNegative, ShareBelowOne
from can.methods.method import Batch, Loss, Method, Metrics
from can.models.transformer import dense


@dataclass(frozen=True)
class SupervisedSettings(MethodSettings):
    """What keeps an encoder from learning its training images by heart."""

    name: str = field(default="supervised", init=False)
    label_smoothing: ShareBelowOne = 0.0  # share of a label that all classes get
    drop_path: ShareBelowOne = 0.0  # rate of the last block; rises linearly from 0 (Huang et al., 2016)
    dropout: ShareBelowOne = 0.0  # rate, of the embedded patches and inside the blocks (Srivastava et al., 2014)
    mixup: NotNegative = 0.0  # mixup's alpha of the Beta distribution (Zhang et al., 2018); 0: none


class Labelled(NamedTuple):
    """One view of each image, mixed with another's, and what is drawn for it."""

    views: Float[Array, "batch size size 3"]
    targets: Float[Array, "batch classes"]  # smoothed, mixed
    drop_key: PRNGKeyArray  # of what is dropped


class Supervised(Method):
    """The encoder and a linear classifier; mixup, label smoothing and stochastic depth where they are asked for."""

    name = "supervised"
    Settings = SupervisedSettings
    augmentation = "mae"
    num_views = 1
    needs_labels = True
    divisible = False  # stochastic depth is drawn inside the encoder, for the whole batch

    settings: SupervisedSettings

    def __init__(self, config: ModelConfig, settings: SupervisedSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        if num_classes < 2:
            raise ConfigError(f"{settings.name} needs labelled data: pass a --data with class labels")
        self.num_classes = num_classes
        self.classifier = dense(config.width, num_classes, dtype=config.dtype, rngs=rngs)

    def logits(
        self, views: Float[Array, "batch size size 3"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch classes"]:
        """The classifier's output; `key` says which residual branches and entries of which images are dropped.

        Without it nothing is dropped, as in a test.
        """
        drop_path, dropout = (self.settings.drop_path, self.settings.dropout) if key is not None else (0.0, 0.0)
        return self.classifier(self.encoder.features(views, drop_path=drop_path, dropout=dropout, key=key))

    def mixed(
        self, batch: Batch, key: PRNGKeyArray
    ) -> tuple[Float[Array, "batch size size 3"], Float[Array, "batch classes"]]:
        """The views and their targets, smoothed and mixed."""
        targets = objectives.smoothed_targets(batch["label"], self.num_classes, self.settings.label_smoothing)
        return mix(key, batch["views"][0], targets, self.settings.mixup, 0.0)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Labelled:
        """One augmented view an image."""
        mix_key, drop_key = jax.random.split(key)
        return Labelled(*self.mixed(batch, mix_key), drop_key)

    def each_image(self, given: Labelled) -> tuple[None, Metrics]:
        """Cross-entropy."""
        logits = self.logits(given.views, given.drop_key)
        cross_entropy = objectives.soft_cross_entropy(logits, given.targets)
        return None, {"loss": cross_entropy, "accuracy": accuracy(logits, given.targets)}

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The cross-entropy alone."""
        return means["loss"], {}


def accuracy(logits: Float[Array, "batch classes"], targets: Float[Array, "batch classes"]) -> Float[Array, ""]:
    """The share of images whose most probable class is that of the largest part of the target."""
    return jnp.mean(jnp.argmax(logits, axis=-1) == jnp.argmax(targets, axis=-1))
