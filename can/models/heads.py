"""The projection head that maps pooled tokens to the unit sphere, where views are contrasted (paper, Sec. 3.2)."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from can.config import ModelConfig
from can.models.transformer import dense


class ProjectionHead(nnx.Module):
    """[FC, BatchNorm (momentum 0.9), ReLU] x 2, FC to 128, unit length (paper, App. C "Projection head architecture").

    The batch statistics are those of all rows given: both views of the whole, global batch. It computes in float32
    whatever the encoder computes in, its products too: InfoNCE is compared to the hundredth of a nat (Table 4).
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        widths = [config.width] + [config.head_width] * config.head_depth
        exact = partial(dense, dtype="float32", precision=jax.lax.Precision.HIGHEST, rngs=rngs)
        # No bias in front of a BatchNorm: its mean would be subtracted at once.
        self.hidden = nnx.List(
            [exact(w_in, w_out, bias=False) for w_in, w_out in zip(widths[:-1], widths[1:], strict=True)]
        )
        self.norms = nnx.List(
            [nnx.BatchNorm(width, momentum=0.9, epsilon=1e-5, dtype="float32", rngs=rngs) for width in widths[1:]]
        )
        self.out = exact(widths[-1], config.head_out)

    def __call__(self, pooled: Float[Array, "rows width"]) -> Float[Array, "rows out"]:
        """u: the projections, each of unit length."""
        x = pooled
        for hidden, norm in zip(self.hidden, self.norms, strict=True):
            x = jax.nn.relu(norm(hidden(x), use_running_average=False))
        u = self.out(x)
        return u / jnp.maximum(jnp.linalg.norm(u, axis=-1, keepdims=True), 1e-12)
