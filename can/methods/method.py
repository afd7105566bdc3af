"""What every method is: modules, and a loss of augmented views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.augment import View
from can.config import MethodSettings, ModelConfig, RunConfig
from can.data import ImageSet
from can.methods.shown import Picture
from can.models import ViT, encoder_of
from can.sharding import shard_rows

Metrics = dict[str, Float[Array, ""]]
Loss = tuple[Float[Array, ""], Metrics]  # a scalar, and what to log beside it
Inputs = Any  # a method's own NamedTuple of arrays, one row an image and view, in the order of `rows_of`
Features = Any  # a pytree of arrays, one row an image and view: what whole batches compare


class Batch(TypedDict, total=False):
    """What the training step hands to a method."""

    views: Float[Array, "views batch size size 3"]  # augmented, normalised
    local_views: Float[Array, "crops batch small small 3"]  # only for methods with a `local_view`, where they are asked
    label: Int[Array, " batch"]  # only from labelled data
    rates: dict[str, Float[Array, ""]]  # this step's values of the method's `schedules`, and `learning_rate`


class Shown(NamedTuple):
    """Held-out views, the same for every method, for losses that can be compared (Table 4)."""

    shuffled: Float[Array, "rows tokens patch_dim"]  # patches of two views an image, view by view
    order: Int[Array, "rows tokens"]  # where they stand in the image
    visible: int  # so many of the first ones are shown to the encoder
    temperature: float  # of Eq. 1
    noise_key: PRNGKeyArray


class Method(nnx.Module):
    """Base of the methods: an encoder that outlives pre-training, and what trains it.

    A loss is made in three steps, which `loss` puts together:

    1. `inputs` draws all that is random, for the whole batch.
    2. `each_image` sees images by themselves: what passes through encoders and decoders.
    3. `whole_batch` compares them, by what step 2 returned of each, and adds up the loss.

    So a batch can be encoded piece by piece and still be compared as a whole (`can.gradients`).
    """

    name: ClassVar[str]  # what flags, configurations and tables call it; a class without one is a base of others
    Settings: ClassVar[type[MethodSettings]]
    augmentation: ClassVar[str] = "simclr"  # its usual views: an AugmentConfig's name
    num_views: ClassVar[int]  # of full size
    views: ClassVar[tuple[View, ...]] = ()  # how these differ among each other; (): they do not
    local_view: ClassVar[View | None] = None  # how local crops are made; None: the method takes none
    needs_labels: ClassVar[bool] = False
    divisible: ClassVar[bool] = True  # whether `inputs` are rows and `each_image` means over them, to be taken in parts
    has_parameters: ClassVar[bool] = True  # its encoder, so that its seeds have other weights
    min_batch: ClassVar[int] = 1  # images; contrastive losses need negatives
    evaluated: ClassVar[str] = "encoder"  # what outlives pre-training; "target/encoder": the teacher's
    frozen: ClassVar[tuple[str, ...]] = ()  # parts of parameters' paths: those stay as they were initialised

    encoder: ViT

    def __init__(self, config: ModelConfig, settings: MethodSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        self.config, self.settings = config, settings
        self.encoder = encoder_of(config, rngs=rngs)

    @classmethod
    def schedules(cls, config: RunConfig) -> dict[str, Callable[[int], float]]:
        """What changes from step to step, beside the learning rate, by name.

        `momentum` moves the targets (`can.methods.kinds`). `learns/NAME` scales what the parameters learn whose path
        has the part NAME. Others are for the loss, in `batch["rates"]`.
        """
        return {}

    @classmethod
    def prepare(cls, config: RunConfig, images: ImageSet, key: PRNGKeyArray) -> dict[str, Array]:
        """The values of what is `Fixed`, by path, made before the first step; none here."""
        return {}

    def loss(self, batch: Batch, key: PRNGKeyArray) -> Loss:
        """The scalar to minimise and what to log, for the whole (global) batch; `key` draws masks and noise."""
        return self.loss_of(self.inputs(batch, key))

    def loss_of(self, inputs: Inputs) -> Loss:
        """The loss of what `inputs` returned."""
        features, means = self.each_image(inputs)
        loss, metrics = self.whole_batch(features, means)
        return loss, {"loss": loss} | metrics | means

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Inputs:
        """What encoders see and what is to be learnt from it.

        Each array's first axis counts rows, so that any of them can be taken out by themselves.
        """
        raise NotImplementedError

    def each_image(self, inputs: Inputs) -> tuple[Features, Metrics]:
        """What `whole_batch` compares, row by row, and losses and metrics that are means over rows.

        No batch statistics here, nor anything else in which a row depends on others.
        """
        raise NotImplementedError

    def whole_batch(self, features: Features, means: Metrics) -> Loss:
        """The loss and further metrics; the loss is linear in `means`, which are logged anyway."""
        raise NotImplementedError

    def comparable_losses(self, shown: Shown) -> Metrics:
        """Those of `infonce`, `reconstruct` and `denoise` that the method has modules for, of given views and masks.

        `can.evals.final_losses` says what they are.
        """
        return {}

    def shows(self, patches: Float[Array, "rows tokens patch_dim"], key: PRNGKeyArray) -> list[Picture]:
        """Pictures of what it makes of images, given their normalised patches in place; `key` draws masks and noise.

        Empty if there is nothing to see: it compares features.
        """
        return []

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Its large modules by name, and the shapes of what `loss` calls each with for so many rows.

        `can.run_flops` counts them.
        """
        return {"encoder": (self.encoder, (floats(rows, self.config.num_patches, self.config.patch_size**2 * 3),))}


def rows_of(views: Float[Array, "views batch height width 3"]) -> Float[Array, "rows height width 3"]:
    """Views and images in one axis, view by view, over all devices."""
    return shard_rows(views.reshape(-1, *views.shape[2:]))


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of an array of float32."""
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def ints(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of an array of int32."""
    return jax.ShapeDtypeStruct(shape, jnp.int32)
