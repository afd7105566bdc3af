"""A linear layer from many features to few."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class NarrowingLinear(nnx.Module):
    """A linear layer whose kernel is stored `[out, in]`, as PyTorch stores it, unlike `nnx.Linear`.

    So its gradient is the product of the narrow output's gradient, transposed, and the wide input. XLA's CPU backend
    packs a transposed left factor column by column: with the wide one in its place, as the other order has it, the
    product takes 1.2 to 1.8 times as long. Computes in `dtype`, stores float32; the paper's initialisation (App. C).
    """

    def __init__(self, in_features: int, out_features: int, *, dtype: str, rngs: nnx.Rngs):
        self.dtype = dtype
        self.kernel = nnx.Param(nnx.initializers.xavier_uniform()(rngs.params(), (out_features, in_features)))
        self.bias = nnx.Param(jnp.zeros(out_features))

    def __call__(self, x: Float[Array, "rows in_features"]) -> Float[Array, "rows out_features"]:
        """The product with the kernel, transposed, and the bias."""
        x, kernel, bias = (array.astype(self.dtype) for array in (x, self.kernel[...], self.bias[...]))
        return jax.lax.dot_general(x, kernel, (((1,), (1,)), ((), ()))) + bias
