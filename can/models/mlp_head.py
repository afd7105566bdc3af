"""The projectors and predictors of MoCo-v3, BYOL and DINO: multilayer perceptrons on pooled tokens.

They compute in float32, their products too, as `ProjectionHead` does and for its reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

EXACT = jax.lax.Precision.HIGHEST


class MLPHead(nnx.Module):
    """Linear layers with BatchNorm (momentum .9) and ReLU between them.

    The batch statistics are those of all rows of a call: of one view, in the methods that use it.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        hidden_bias: bool,
        last_norm: bool,
        rngs: nnx.Rngs,
    ):
        """`widths`: of the input and all outputs. `last_norm`: BatchNorm without scale and shift at the end."""
        biases = [hidden_bias] * (len(widths) - 2) + [False]
        layers = zip(widths[:-1], widths[1:], biases, strict=True)
        self.linear = nnx.List([_exact(*layer, rngs) for layer in layers])
        self.norms = nnx.List([_norm(width, True, rngs) for width in widths[1:-1]])
        self.last_norm = _norm(widths[-1], False, rngs) if last_norm else None

    def __call__(self, rows: Float[Array, "rows width"]) -> Float[Array, "rows out"]:
        """The outputs, of any length."""
        for linear, norm in zip(self.linear[:-1], self.norms, strict=True):
            rows = jax.nn.relu(norm(linear(rows), use_running_average=False))
        out = self.linear[-1](rows)
        return out if self.last_norm is None else self.last_norm(out, use_running_average=False)


class DINOHead(nnx.Module):
    """D -> hidden -> hidden -> out with GELU, unit length, and similarity to `prototypes` unit vectors."""

    def __init__(self, width: int, hidden: int, out: int, prototypes: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.truncated_normal(0.02)
        self.linear = nnx.List(
            [
                nnx.Linear(*layer, kernel_init=init, precision=EXACT, rngs=rngs)
                for layer in ((width, hidden), (hidden, hidden), (hidden, out))
            ]
        )
        # PyTorch's start of a linear layer; only the directions of the rows count.
        bound = out**-0.5
        start = jax.random.uniform(rngs.params(), (prototypes, out), minval=-bound, maxval=bound)
        self.prototypes = nnx.Param(start)

    def __call__(self, rows: Float[Array, "rows width"]) -> Float[Array, "rows prototypes"]:
        """Cosines."""
        for linear in self.linear[:-1]:
            rows = jax.nn.gelu(linear(rows), approximate=False)
        return jnp.matmul(unit(self.linear[-1](rows)), unit(self.prototypes[...]).T, precision=EXACT)


def unit(rows: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
    """The rows at length 1; what is shorter than 1e-12 stays shorter."""
    return rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def _exact(width: int, out: int, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    init = nnx.initializers.xavier_uniform()
    return nnx.Linear(width, out, use_bias=bias, kernel_init=init, precision=EXACT, rngs=rngs)


def _norm(width: int, affine: bool, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(width, momentum=0.9, epsilon=1e-5, use_scale=affine, use_bias=affine, rngs=rngs)
