"""What every method is: modules, and a loss of augmented views."""

from __future__ import annotations

from typing import ClassVar, TypedDict

from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.config import MethodConfig, ModelConfig
from can.models import ViT

Metrics = dict[str, Float[Array, ""]]


class Batch(TypedDict, total=False):
    """What the training step hands to a method."""

    views: Float[Array, "views batch size size 3"]  # augmented, normalised
    label: Int[Array, " batch"]  # only from labelled data


class Method(nnx.Module):
    """Base of the methods: an encoder that outlives pre-training, and what trains it."""

    num_views: ClassVar[int]
    needs_labels: ClassVar[bool] = False
    min_batch: ClassVar[int] = 1  # images; contrastive losses need negatives

    encoder: ViT

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        self.model, self.method = model, method
        self.encoder = ViT(model, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """The scalar to minimise and what to log, for the whole (global) batch; `key` draws masks and noise."""
        raise NotImplementedError
