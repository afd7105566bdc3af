"""The decoder: a light ViT that predicts every patch from the encoded ones (paper, Sec. 3.3-3.4; He et al., 2022)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from can.config import MethodConfig, ModelConfig
from can.errors import ConfigError
from can.models.positions import sincos_positions, sinusoid
from can.models.transformer import Transformer, dense


class SigmaEmbedding(nnx.Module):
    """p in R^d from the noise level: a sinusoid, then a light MLP (paper, Sec. 3.4 and Figure 3)."""

    def __init__(self, width: int, method: MethodConfig, *, dtype: str, rngs: nnx.Rngs):
        # The raw sigma in [0, 0.05] would make a sinusoid that hardly changes: it is stretched to [0, sigma_scale].
        self.scale = method.sigma_scale / method.sigma_max if method.sigma_scale else 1.0
        self.hidden = dense(width, width, dtype=dtype, rngs=rngs)
        self.out = dense(width, width, dtype=dtype, rngs=rngs)

    def __call__(self, sigma: Float[Array, " batch"]) -> Float[Array, "batch width"]:
        """Embeds each image's noise level."""
        return self.out(jax.nn.relu(self.hidden(sinusoid(sigma * self.scale, self.hidden.in_features))))


class Decoder(nnx.Module):
    """Predicts all T patches from T' encoded tokens and T - T' copies of a learned [M].

    Tokens stay in the order in which the mask shuffled them, visible ones first: a transformer does not see the order,
    only the positions that are added, so nothing needs to be put back in place.
    """

    def __init__(self, model: ModelConfig, *, sigma: MethodConfig | None = None, rngs: nnx.Rngs):
        """`sigma`: the method whose noise level the decoder is told; None for a decoder without that input."""
        if sigma is not None and model.mask_token != "encoder":
            raise ConfigError("the noise level is added in encoder width: it needs mask_token='encoder'")
        self.config = model
        self.sigma_tokens = sigma.sigma_tokens if sigma is not None else "all"
        width = model.decoder_width
        token_width = model.width if model.mask_token == "encoder" else width
        self.mask_token = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (token_width,)))
        if sigma is not None:
            self.sigma_embedding = SigmaEmbedding(model.width, sigma, dtype=model.dtype, rngs=rngs)
        self.embed = dense(model.width, width, dtype=model.dtype, rngs=rngs)
        self.transformer = Transformer(
            model.decoder_depth,
            width,
            model.decoder_heads,
            model.decoder_mlp_dim,
            dtype=model.dtype,
            remat=model.remat,
            unroll=model.scan_unroll,
            rngs=rngs,
        )
        self.predict = dense(width, model.patch_size**2 * 3, dtype=model.dtype, rngs=rngs)

    def __call__(
        self,
        encoded: Float[Array, "batch encoded width"],
        order: Int[Array, "batch tokens"],
        sigma: Float[Array, " batch"] | None = None,
    ) -> Float[Array, "batch tokens patch_dim"]:
        """Predictions in `order`: those of the T' visible patches first, then those of the masked ones.

        `encoded`: the encoder's tokens, of the patches `order[:, :T']`, behind its cls token where it has one.
        `sigma`: noise levels, in units of normalised pixels; needed if and only if the decoder was built with it.
        """
        batch, tokens = order.shape
        prefix = int(self.config.cls_token)
        masked = tokens - (encoded.shape[1] - prefix)
        mask_tokens = jnp.broadcast_to(
            self.mask_token[...].astype(encoded.dtype), (batch, masked, self.mask_token.shape[0])
        )
        if self.config.mask_token == "encoder":
            z = jnp.concatenate([encoded, mask_tokens], axis=1)  # [B, T, D]
            if sigma is not None:
                noise_level = self.sigma_embedding(sigma)[:, None].astype(z.dtype)
                z = z + noise_level if self.sigma_tokens == "all" else z.at[:, : encoded.shape[1]].add(noise_level)
            x = self._embed(z)
        else:
            x = jnp.concatenate([self._embed(encoded), mask_tokens], axis=1)
        positions = jnp.asarray(sincos_positions(self.config.image_size // self.config.patch_size, x.shape[-1]))
        x = x.at[:, prefix:].add(positions[order].astype(x.dtype)) if prefix else x + positions[order].astype(x.dtype)
        x = self.transformer(x)[:, prefix:]
        return self.predict(x.reshape(-1, x.shape[-1])).reshape(batch, tokens, -1).astype(jnp.float32)

    def _embed(self, z: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens decoder_width"]:
        return self.embed(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:2], -1)
