"""What BEiT, CAE and CIM share: blocks of patches are masked, and their tokens are to be told (`can.tokeniser`)."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from can import objectives
from can.augment import augment, normalize
from can.config import AugmentConfig, MethodSettings, ModelConfig, RunConfig
from can.data import ImageSet, batches
from can.errors import ConfigError
from can.fields import Count, OneOf, Share
from can.methods.kinds import Fixed
from can.methods.method import Batch, Method, rows_of
from can.tokeniser import PROJECTED, Codebook, RandomProjection, codebook, random_projection
from can.views import block_order, num_masked, patchify, random_order, shuffle

MIN_BLOCK = 16 / 196  # the smallest masked block's share of the image (Bao et al., 2022)
PATCHES_OF_IMAGE = 8  # that a codebook is made of
IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class TokenSettings(MethodSettings):
    """How much is masked, and what the tokens are."""

    mask_rate: Share = 75 / 196  # share of patches that are masked, to the nearest number of them
    codes: Count = 8192  # K, of the tokeniser
    # Of patches by k-means, or by a random projection, which cannot be decoded.
    tokeniser: Annotated[str, OneOf(("kmeans", "random_projection"))] = "kmeans"
    codebook_patches: Count = 65_536  # patches of the training images that k-means sees


class TokenisedView(NamedTuple):
    """All patches of each image, an order of them, T' visible ones first, and the tokens of the masked ones."""

    patches: Float[Array, "rows tokens patch_dim"]
    order: Int[Array, "rows tokens"]
    tokens: Int[Array, "rows masked"]


class TokenMethod(Method):
    """A method with a tokeniser, which is made before the first step and stays."""

    augmentation = "beit"
    num_views = 1
    settings: TokenSettings

    def __init__(self, config: ModelConfig, settings: TokenSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        codes, patches, patch_dim = settings.codes, settings.codebook_patches, config.patch_size**2 * 3
        most = patches if settings.tokeniser == "kmeans" else codes
        if not 2 <= codes <= most:
            raise ConfigError(
                f"codes {codes} of {settings.name} must lie in 2..codebook_patches ({patches}): of one code there is "
                "nothing to predict, and each needs a patch"
            )
        self.num_visible = config.num_patches - num_masked(config.num_patches, settings.mask_rate)
        shapes: dict[str, tuple[int, ...]] = dict(projection=(patch_dim, PROJECTED), codes=(codes, PROJECTED))
        if settings.tokeniser == "kmeans":
            of_codes = (codes, patch_dim)
            shapes = dict(mean=(patch_dim,), whitener=(patch_dim, patch_dim), codes=of_codes, patches=of_codes)
        self.tokeniser = nnx.Dict({name: Fixed(jnp.zeros(shape)) for name, shape in shapes.items()})

    @classmethod
    def prepare(cls, config: RunConfig, images: ImageSet, key: PRNGKeyArray) -> dict[str, Array]:
        """The tokeniser of a run, of views of its own images."""
        settings, model = config.method, config.model
        assert isinstance(settings, TokenSettings)
        draw_key, key = jax.random.split(key)
        patches = training_patches(draw_key, config, images, settings.codebook_patches)
        made: Codebook | RandomProjection = random_projection(key, model.patch_size**2 * 3, settings.codes)
        if settings.tokeniser == "kmeans":
            made = codebook(key, patches, settings.codes)
        used = float(objectives.perplexity(made.encode(patches), settings.codes))
        logging.info(
            "%d codes, as many as %.0f equally frequent ones: a loss of %.3f", settings.codes, used, math.log(used)
        )
        return {f"tokeniser/{name}": value for name, value in made._asdict().items()}

    @property
    def codebook(self) -> Codebook | RandomProjection:
        """What was prepared."""
        kind = Codebook if self.settings.tokeniser == "kmeans" else RandomProjection
        return kind(**{name: self.tokeniser[name][...] for name in kind._fields})

    def order(self, key: PRNGKeyArray, rows: int) -> Int[Array, "rows tokens"]:
        """An order of the patches, T' visible ones first and blocks of masked ones behind."""
        tokens = self.config.num_patches
        return block_order(key, rows, tokens, tokens - self.num_visible, max(round(MIN_BLOCK * tokens), 1))

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Any:
        """A `TokenisedView` of each image."""
        patches = patchify(rows_of(batch["views"]), self.config.patch_size)  # [B, T, P]
        return self.tokenised(patches, self.order(key, len(patches)))

    def tokenised(
        self, patches: Float[Array, "rows tokens patch_dim"], order: Int[Array, "rows tokens"]
    ) -> TokenisedView:
        """The inputs for a given order of the patches, the first T' of which are visible."""
        return TokenisedView(patches, order, self.codebook.encode(shuffle(patches, order[:, self.num_visible :])))


def training_patches(
    key: PRNGKeyArray, config: RunConfig, images: ImageSet, count: int
) -> Float[Array, "count patch_dim"]:
    """Patches of random views of a run's images, as its encoder will see them; every host draws the same."""
    order_key, key = jax.random.split(key)
    source = batches(
        images.without_labels(),
        batch_size=IMAGES_AT_ONCE,
        seed=int(jax.random.bits(order_key) >> 1),
        image_size=config.model.image_size,
        crop_area=config.augment.crop_area,
        skip_bad=True,  # whether a damaged image ends the run is for its training to decide
    )
    each = min(PATCHES_OF_IMAGE, config.model.num_patches)
    steps = range(math.ceil(count / (IMAGES_AT_ONCE * each)))
    with contextlib.closing(source):
        read = ((jax.random.fold_in(key, step), jnp.asarray(next(source)["image"])) for step in steps)
        found = [_patches_of(config.model, config.augment, each, *drawn) for drawn in read]
    return jnp.concatenate(found)[:count]


@partial(jax.jit, static_argnums=(0, 1, 2))
def _patches_of(
    model: ModelConfig, how: AugmentConfig, each: int, key: PRNGKeyArray, images: UInt8[Array, "images ..."]
) -> Float[Array, "chosen patch_dim"]:
    """`each` random patches of a view of each image."""
    view_key, order_key = jax.random.split(key)
    views = augment(view_key, images, how, image_size=model.image_size, views=1)
    patches = patchify(normalize(views[0]), model.patch_size)
    order = random_order(order_key, len(patches), model.num_patches)[:, :each]
    return shuffle(patches, order).reshape(-1, patches.shape[-1])
