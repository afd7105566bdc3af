"""The Vision Transformer encoder (Dosovitskiy et al., 2021), its size table and its input: patches."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from can.config import ModelConfig
from can.errors import check_choice
from can.models.positions import sincos_positions
from can.models.transformer import Transformer, dense
from can.views import patchify

# Below ViT-B the decoder and the projection head shrink in proportion: at full size they would cost more than the
# encoder and turn the FLOPs ratio of SimCLR to CAN round.
SIZES: dict[str, dict[str, int]] = {
    "L": dict(patch_size=16, width=1024, depth=24, heads=16, mlp_dim=4096),
    "B": dict(patch_size=16, width=768, depth=12, heads=12, mlp_dim=3072),
    "S": dict(patch_size=16, width=384, depth=12, heads=6, mlp_dim=1536)
    | dict(decoder_width=256, decoder_depth=4, decoder_heads=8, decoder_mlp_dim=1024, head_width=2048),
    "Ti": dict(patch_size=4, width=192, depth=12, heads=3, mlp_dim=768)
    | dict(decoder_width=128, decoder_depth=2, decoder_heads=4, decoder_mlp_dim=512, head_width=1024),
    "mini": dict(patch_size=4, width=192, depth=6, heads=6, mlp_dim=768)
    | dict(decoder_width=96, decoder_depth=2, decoder_heads=3, decoder_mlp_dim=384, head_width=768, head_out=64),
    "micro": dict(patch_size=7, width=128, depth=4, heads=4, mlp_dim=512)
    | dict(decoder_width=64, decoder_depth=2, decoder_heads=2, decoder_mlp_dim=256, head_width=512, head_out=64),
    "nano": dict(patch_size=7, width=96, depth=3, heads=3, mlp_dim=384)
    | dict(decoder_width=48, decoder_depth=2, decoder_heads=2, decoder_mlp_dim=192, head_width=384, head_out=64),
}


def model_config(size: str, image_size: int, **overrides: Any) -> ModelConfig:
    """The model of a named size for square images of `image_size` pixels; `overrides` replace single fields.

    Raises ConfigError for an unknown size, or a patch that does not divide the image.
    """
    check_choice("model size", size, SIZES)
    fields: dict[str, Any] = {"size": size, "image_size": image_size} | SIZES[size] | overrides
    return ModelConfig(**fields)


class ViT(nnx.Module):
    """The encoder: embeds patches, adds fixed positions, runs the transformer on the patches that are not masked."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.image_size = config.image_size
        self.num_features = config.width
        patch_dim = config.patch_size**2 * 3
        # Glorot on the flattened [p*p*3, D] matrix (He et al., 2022), not on a convolution's receptive field.
        self.patch_embed = dense(patch_dim, config.width, dtype=config.dtype, rngs=rngs)
        if config.cls_token:
            self.cls_token = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (config.width,)))
        self.transformer = Transformer(
            config.depth,
            config.width,
            config.heads,
            config.mlp_dim,
            dtype=config.dtype,
            remat=config.remat,
            unroll=config.scan_unroll,
            rngs=rngs,
        )

    def __call__(
        self,
        patches: Float[Array, "batch kept patch_dim"],
        places: Int[Array, "batch kept"] | None = None,
        *,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        key: PRNGKeyArray | None = None,
        final_norm: bool = True,
        hidden: Bool[Array, "batch kept"] | None = None,
        mask_token: Float[Array, " width"] | None = None,
    ) -> Float[Array, "batch encoded width"]:
        """Encodes the patches that stand at `places` in the image (None: all of them, in order).

        Where `hidden` is true, `mask_token` takes the embedded patch's place, before positions are added.

        Returns layer-normed tokens (unless `final_norm` is False) in the given order, behind the cls token where the
        model has one.
        """
        x = self.embed(patches, places, hidden=hidden, mask_token=mask_token)
        return self.transformer(x, drop_path=drop_path, dropout=dropout, key=key, final_norm=final_norm)

    def embed(
        self,
        patches: Float[Array, "batch kept patch_dim"],
        places: Int[Array, "batch kept"] | None = None,
        *,
        hidden: Bool[Array, "batch kept"] | None = None,
        mask_token: Float[Array, " width"] | None = None,
    ) -> Float[Array, "batch encoded width"]:
        """The tokens that the first block is given."""
        batch, kept, patch_dim = patches.shape
        x = self.patch_embed(patches.reshape(-1, patch_dim)).reshape(batch, kept, -1)
        if hidden is not None:
            assert mask_token is not None, "what takes the place of hidden patches?"
            x = jnp.where(hidden[:, :, None], mask_token.astype(x.dtype), x)
        grid, trained_grid = (size // self.config.patch_size for size in (self.image_size, self.config.image_size))
        positions = jnp.asarray(sincos_positions(grid, x.shape[-1], trained_grid))
        x = x + (positions if places is None else positions[places]).astype(x.dtype)
        if self.config.cls_token:
            cls = jnp.broadcast_to(self.cls_token[...].astype(x.dtype), (batch, 1, x.shape[-1]))
            x = jnp.concatenate([cls, x], axis=1)
        return x

    def at_size(self, image_size: int) -> ViT:
        """The same encoder, weights shared, for images of `image_size` pixels, which its positions are stretched to.

        Raises ConfigError if the patch does not divide the size.
        """
        dataclasses.replace(self.config, image_size=image_size)  # checks it
        graphdef, params = nnx.split(self)
        model = nnx.merge(graphdef, params)
        model.image_size = image_size
        return model

    def pool(self, tokens: Float[Array, "batch encoded width"]) -> Float[Array, "batch width"]:
        """The mean of the patch tokens: what the projection head and every evaluation see (paper, Sec. 3.2)."""
        return tokens[:, int(self.config.cls_token) :].mean(axis=1, dtype=jnp.float32)

    @property
    def prefix_tokens(self) -> int:
        """How many tokens stand before those of the patches."""
        return int(self.config.cls_token)

    def attention(
        self, images: Float[Array, "batch size size 3"]
    ) -> tuple[Float[Array, "batch heads tokens tokens"], int | None]:
        """The last block's attention for whole, normalised images, by head.

        Returns how much each token looks at each other one, those before the patches included, and which of them is the
        feature; None: the mean of the patches is.
        """
        tokens = self.embed(patchify(images, self.config.patch_size))
        return self.transformer.last_attention(tokens), None

    def features(
        self,
        images: Float[Array, "batch size size 3"],
        *,
        drop_path: float = 0.0,
        dropout: float = 0.0,
        key: PRNGKeyArray | None = None,
        final_norm: bool = True,
    ) -> Float[Array, "batch width"]:
        """Pooled features of whole, normalised images; what is dropped is `Transformer`'s affair."""
        patches = patchify(images, self.config.patch_size)
        return self.pool(self(patches, drop_path=drop_path, dropout=dropout, key=key, final_norm=final_norm))
