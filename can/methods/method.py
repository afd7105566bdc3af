"""What every method is: modules, and a loss of augmented views."""

from __future__ import annotations

from typing import ClassVar, TypedDict

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.config import MethodSettings, ModelConfig
from can.models import ViT, encoder_of
from can.sharding import shard_rows

Metrics = dict[str, Float[Array, ""]]
Loss = tuple[Float[Array, ""], Metrics]  # a scalar, and what to log
Inputs = dict[str, Array]  # one row an image and view, in the order of `rows_of`


class Batch(TypedDict, total=False):
    """What the training step hands to a method."""

    views: Float[Array, "views batch size size 3"]  # augmented, normalised
    label: Int[Array, " batch"]  # only from labelled data


class Method(nnx.Module):
    """Base of the methods: an encoder that outlives pre-training, and what trains it.

    The loss is a sum of two parts, of which a method has one or both: `image_loss` sees each image by itself,
    `batch_loss` compares images, by their pooled tokens alone. So a batch can be encoded piece by piece and still be
    compared as a whole (`can.gradients`). Whatever is random is drawn by `inputs`, for the whole batch.
    """

    name: ClassVar[str]  # what flags, configurations and tables call it; a class without one is a base of others
    Settings: ClassVar[type[MethodSettings]]
    augmentation: ClassVar[str] = "simclr"  # its usual views: an AugmentConfig's name
    num_views: ClassVar[int]
    needs_labels: ClassVar[bool] = False
    divisible: ClassVar[bool] = True  # whether its loss is the sum of the two parts, so that a batch can be divided
    min_batch: ClassVar[int] = 1  # images; contrastive losses need negatives

    encoder: ViT

    def __init__(self, model: ModelConfig, method: MethodSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        self.model, self.method = model, method
        self.encoder = encoder_of(model, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> Loss:
        """The scalar to minimise and what to log, for the whole (global) batch; `key` draws masks and noise."""
        return self.loss_of(self.inputs(batch, key))

    def loss_of(self, inputs: Inputs) -> Loss:
        """The loss of what `inputs` returned."""
        tokens = self.encode(inputs)
        return add_losses(self.image_loss(tokens, inputs), self.batch_loss(self.encoder.pool(tokens)))

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Inputs:
        """What the encoder sees, `visible` patches and their `places` (if not all in order), and what it is to learn.

        Each entry's first axis counts rows, so that any of them can be taken out by themselves.
        """
        raise NotImplementedError

    def encode(self, inputs: Inputs) -> Float[Array, "rows encoded width"]:
        """The encoder's tokens of each row."""
        return self.encoder(inputs["visible"], inputs.get("places"))

    def image_loss(self, tokens: Float[Array, "rows encoded width"], inputs: Inputs) -> Loss:
        """The part of the loss, and the metrics, that are means over rows; none here."""
        return jnp.zeros(()), {}

    def batch_loss(self, pooled: Float[Array, "rows width"]) -> Loss:
        """The part of the loss that compares all rows of the global batch; none here."""
        return jnp.zeros(()), {}


def rows_of(views: Float[Array, "views batch height width 3"]) -> Float[Array, "rows height width 3"]:
    """Views and images in one axis, view by view, over all devices."""
    return shard_rows(views.reshape(-1, *views.shape[2:]))


def add_losses(image: Loss, batch: Loss) -> Loss:
    """The whole loss of its two parts, which is logged as `loss` beside what they log."""
    loss = batch[0] + image[0]
    return loss, {"loss": loss} | batch[1] | image[1]
