"""The Vision Transformers that others publish: what differs from ours is a setting of `PublicViTConfig`.

Layer scale and missing biases need no setting: `can.weights.load` multiplies the scale into the layer before it, and
a missing bias is 0. A position that a cls, distillation or register token has is added to the token there, too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from can.augment.simclr import IMAGENET_MEAN, IMAGENET_STD
from can.config import ModelConfig
from can.errors import ConfigError
from can.fields import CountOrZero, OneOf, Positive
from can.models.fingerprint import CHANGES_FEATURES
from can.models.transformer import LAYER_NORM_EPS, Transformer, dense, layer_norm
from can.models.vit import ViT
from can.views import patchify

POOLS = ("mean", "cls")
OF_PUBLIC = ("eps", "activation", "prefix_tokens", "pre_norm", "norm", "pool", "pixel_mean", "pixel_std")


@dataclass(frozen=True)
class PublicViTConfig(ModelConfig):
    """An encoder that others trained; `dataclasses.asdict` of it stands in a run's `config.json`."""

    changes_features: ClassVar[tuple[str, ...]] = (*CHANGES_FEATURES, *OF_PUBLIC)

    eps: Positive = LAYER_NORM_EPS  # of the layer norms
    activation: Annotated[str, OneOf(("gelu", "gelu_tanh", "quick_gelu"))] = "gelu"
    prefix_tokens: CountOrZero = 1  # before the patches: cls, then distillation and register tokens
    pre_norm: bool = False  # a layer norm before the first block (CLIP)
    norm: Annotated[str, OneOf(("tokens", "pooled"))] = "tokens"  # what the last layer norm is of
    pool: Annotated[str, OneOf(POOLS)] = "cls"
    pixel_mean: tuple[float, ...] = IMAGENET_MEAN  # of [0, 1], by channel
    pixel_std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) != 3:
                raise ConfigError(f"{name} has {len(getattr(self, name))} numbers: pass one for each of three channels")
        if min(self.pixel_std) <= 0:
            raise ConfigError(f"pixel_std must be above 0, not {min(self.pixel_std):g}")
        if self.pool == "cls" and not self.prefix_tokens:
            raise ConfigError("these weights have no cls token to pool: pass --pool=mean")


class PublicViT(ViT):
    """A ViT with learned positions and tokens before the patches; evaluations see it as they see ours."""

    config: PublicViTConfig

    def __init__(self, config: PublicViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.image_size = config.image_size
        self.num_features = config.width
        normal = nnx.initializers.normal(0.02)
        self.patch_embed = dense(config.patch_size**2 * 3, config.width, dtype=config.dtype, rngs=rngs)
        self.positions = nnx.Param(normal(rngs.params(), (config.num_patches, config.width)))
        if config.prefix_tokens:
            self.cls_token = nnx.Param(normal(rngs.params(), (config.prefix_tokens, config.width)))
        if config.pre_norm:
            self.pre_norm = layer_norm(config.width, dtype=config.dtype, rngs=rngs, eps=config.eps)
        self.transformer = Transformer(
            config.depth,
            config.width,
            config.heads,
            config.mlp_dim,
            dtype=config.dtype,
            remat=config.remat,
            unroll=config.scan_unroll,
            rngs=rngs,
            eps=config.eps,
            activation=config.activation,
        )

    def embed(
        self,
        patches: Float[Array, "batch kept patch_dim"],
        places: Int[Array, "batch kept"] | None = None,
        *,
        hidden: Bool[Array, "batch kept"] | None = None,
        mask_token: Float[Array, " width"] | None = None,
    ) -> Float[Array, "batch encoded width"]:
        """The embedded patches of normalised images behind the tokens that the model has before them; see `ViT`."""
        batch, kept, patch_dim = patches.shape
        x = self.patch_embed(patches.reshape(-1, patch_dim)).reshape(batch, kept, -1)
        if hidden is not None and mask_token is not None:
            x = jnp.where(hidden[:, :, None], mask_token.astype(x.dtype), x)
        positions = self._positions()
        x = x + (positions if places is None else positions[places]).astype(x.dtype)
        if self.config.prefix_tokens:
            prefix = self.cls_token[...].astype(x.dtype)
            x = jnp.concatenate([jnp.broadcast_to(prefix, (batch, *prefix.shape)), x], axis=1)
        return self.pre_norm(x) if self.config.pre_norm else x

    @property
    def prefix_tokens(self) -> int:
        """See `ViT`; cls, distillation and register tokens."""
        return self.config.prefix_tokens

    def attention(
        self, images: Float[Array, "batch size size 3"]
    ) -> tuple[Float[Array, "batch heads tokens tokens"], int | None]:
        """See `ViT`."""
        tokens = self.embed(patchify(self._normalised(images), self.config.patch_size))
        return self.transformer.last_attention(tokens), 0 if self.config.pool == "cls" else None

    def pool(self, tokens: Float[Array, "batch encoded width"]) -> Float[Array, "batch width"]:
        """The cls token, or the mean of the patch tokens."""
        if self.config.pool == "cls":
            return tokens[:, 0].astype(jnp.float32)
        return tokens[:, self.config.prefix_tokens :].mean(axis=1, dtype=jnp.float32)

    def features(
        self,
        images: Float[Array, "batch size size 3"],
        *,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        key: PRNGKeyArray | None = None,
        final_norm: bool = True,
    ) -> Float[Array, "batch width"]:
        """Pooled features of images that are normalised as ours are; they are normalised anew as the weights ask."""
        patches = patchify(self._normalised(images), self.config.patch_size)
        norm_tokens = final_norm and self.config.norm == "tokens"
        pooled = self.pool(self(patches, drop_path=drop_path, dropout=dropout, key=key, final_norm=norm_tokens))
        return self.transformer.norm(pooled) if final_norm and self.config.norm == "pooled" else pooled

    def at_size(self, image_size: int) -> PublicViT:
        """The model for images of another size; learned positions are resampled bicubically, as timm does it."""
        dataclasses.replace(self.config, image_size=image_size)  # checks it
        graphdef, params = nnx.split(self)
        model = nnx.merge(graphdef, params)
        model.image_size = image_size
        return model

    def _positions(self) -> Float[Array, "patches width"]:
        table = self.positions[...]
        grid, trained = (size // self.config.patch_size for size in (self.image_size, self.config.image_size))
        if grid == trained:
            return table
        square = table.reshape(trained, trained, -1)
        return jax.image.resize(square, (grid, grid, square.shape[-1]), "bicubic").reshape(grid * grid, -1)

    def _normalised(self, images: Float[Array, "batch size size 3"]) -> Float[Array, "batch size size 3"]:
        if (self.config.pixel_mean, self.config.pixel_std) == (tuple(IMAGENET_MEAN), tuple(IMAGENET_STD)):
            return images
        pixels = images * jnp.array(IMAGENET_STD) + jnp.array(IMAGENET_MEAN)
        return (pixels - jnp.array(self.config.pixel_mean)) / jnp.array(self.config.pixel_std)
