"""CAE's regressor: predicts the encoder's tokens of masked patches from those of visible ones (Chen et al., 2024)."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from can.models.attention import attention
from can.models.gelu import gelu
from can.models.transformer import dense, layer_norm

LAYER_SCALE = 0.1  # what each branch is multiplied by at the start


class RegressorBlock(nnx.Module):
    """Masked tokens attend to visible tokens and to one another; the residual of the MLP is layer-normed."""

    def __init__(self, width: int, heads: int, mlp_dim: int, *, dtype: str, rngs: nnx.Rngs):
        self.heads = heads
        self.norm_queries = layer_norm(width, dtype=dtype, rngs=rngs)
        self.norm_keys = layer_norm(width, dtype=dtype, rngs=rngs)
        self.norm_values = layer_norm(width, dtype=dtype, rngs=rngs)
        self.queries = dense(width, width, dtype=dtype, rngs=rngs)
        self.keys = dense(width, width, dtype=dtype, rngs=rngs, bias=False)  # a bias would change no attention
        self.values = dense(width, width, dtype=dtype, rngs=rngs)
        self.attention_out = dense(width, width, dtype=dtype, rngs=rngs)
        self.norm_mlp = layer_norm(width, dtype=dtype, rngs=rngs)
        self.mlp_in = dense(width, mlp_dim, dtype=dtype, rngs=rngs)
        self.mlp_out = dense(mlp_dim, width, dtype=dtype, rngs=rngs)
        self.attention_scale = nnx.Param(jnp.full(width, LAYER_SCALE))
        self.mlp_scale = nnx.Param(jnp.full(width, LAYER_SCALE))

    def __call__(
        self,
        masked: Float[Array, "batch masked width"],
        visible: Float[Array, "batch visible width"],
        masked_positions: Float[Array, "batch masked width"],
        visible_positions: Float[Array, "batch visible width"],
    ) -> Float[Array, "batch masked width"]:
        """The masked tokens, one block better."""
        context = jnp.concatenate([visible, masked], axis=1)  # [B, T, D]
        positions = jnp.concatenate([visible_positions, masked_positions], axis=1)
        queries = self._heads(self.queries(self.norm_queries(masked + masked_positions)))
        keys = self._heads(self.keys(self.norm_keys(context + positions)))
        values = self._heads(self.values(self.norm_values(context)))
        out = attention(queries, keys, values).reshape(len(masked), self.heads, masked.shape[1], -1)
        attended = self.attention_out(jnp.swapaxes(out, 1, 2).reshape(masked.shape))
        h = self.norm_mlp(masked + self.attention_scale[...].astype(masked.dtype) * attended)
        return h + self.mlp_scale[...].astype(h.dtype) * self.mlp_out(gelu(self.mlp_in(h)))

    def _heads(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "heads tokens head_width"]:
        batch, tokens, width = x.shape
        split = jnp.swapaxes(x.reshape(batch, tokens, self.heads, width // self.heads), 1, 2)
        return split.reshape(batch * self.heads, tokens, -1)


class Regressor(nnx.Module):
    """`depth` blocks and a layer norm; every masked place starts as one learned token."""

    def __init__(self, depth: int, width: int, heads: int, mlp_dim: int, *, dtype: str, rngs: nnx.Rngs):
        self.mask_token = nnx.Param(nnx.initializers.truncated_normal(0.02)(rngs.params(), (width,)))
        self.layers = nnx.List([RegressorBlock(width, heads, mlp_dim, dtype=dtype, rngs=rngs) for _ in range(depth)])
        self.norm = layer_norm(width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        visible: Float[Array, "batch visible width"],
        masked_positions: Float[Array, "batch masked width"],
        visible_positions: Float[Array, "batch visible width"],
    ) -> Float[Array, "batch masked width"]:
        """The encoder's layer-normed tokens of the masked places, as far as the visible ones tell them."""
        token = self.mask_token[...].astype(visible.dtype)
        masked = jnp.broadcast_to(token, (*masked_positions.shape[:2], len(token)))
        for layer in self.layers:
            masked = layer(masked, visible, masked_positions, visible_positions)
        return self.norm(masked)
