"""What tests of the methods with a teacher share: small methods, and their heads and losses once more, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional

from can.methods import Method, build, settings_class
from can.methods.kinds import split_method
from can.models import model_config
from can.models.mlp_head import MLPHead

MODEL = model_config(
    "nano", 14, width=16, heads=2, depth=1, mlp_dim=16, decoder_width=8, decoder_heads=2, decoder_depth=1
)
IMAGES = 12
Rows = Sequence[torch.Tensor]


def new(name: str, head_out: int = 8, **settings: Any) -> Method:
    """A method of a small model, whose teacher differs from it as after many steps."""
    model = model_config("nano", 14, **{**_sizes(), "head_width": 24, "head_out": head_out})
    method = build(model, settings_class(name)(**settings), rngs=nnx.Rngs(0))
    if hasattr(method, "target"):
        graphdef, params, other = split_method(method)
        keys = iter(jax.random.split(jax.random.key(5), 200))
        other = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape), other)
        method = nnx.merge(graphdef, params, other)
    return method


def _sizes() -> dict[str, int]:
    return {
        name: getattr(MODEL, name)
        for name in ("width", "heads", "depth", "mlp_dim", "decoder_width", "decoder_heads", "decoder_depth")
    }


def in_torch(head: MLPHead, rows: torch.Tensor) -> torch.Tensor:
    """A head's output with its weights, as PyTorch's layers have it."""
    for place, linear in enumerate(head.linear):
        bias = None if linear.bias is None else tensor(linear.bias[...])
        rows = functional.linear(rows, tensor(linear.kernel[...]).T, bias)
        if place < len(head.linear) - 1:
            norm = head.norms[place]
            rows = functional.batch_norm(rows, None, None, tensor(norm.scale[...]), tensor(norm.bias[...]), True)
            rows = functional.relu(rows)
    return rows if head.last_norm is None else functional.batch_norm(rows, None, None, None, None, True)


def tensor(array: Any) -> torch.Tensor:
    """The array in PyTorch, in double precision."""
    return torch.tensor(np.asarray(array), dtype=torch.float64)


def compare(method: Method, reference: Callable[[Rows, Rows], torch.Tensor], pooled: type) -> float:
    """The largest relative difference of the loss, and of its gradient by the student's pooled tokens.

    `reference` makes the loss of each view's pooled tokens, of the student and of the teacher. Nothing is learnt
    through the teacher's.
    """
    width = method.config.width
    student, teacher = (jax.random.normal(jax.random.key(key), (2 * IMAGES, width)) for key in (1, 2))
    graphdef, params, other = split_method(method)
    zeros = {"reconstruct": jnp.zeros(()), "denoise": jnp.zeros(())}

    def loss(student: jax.Array, teacher: jax.Array) -> jax.Array:
        merged = nnx.merge(graphdef, params, other, copy=True)
        return merged.whole_batch(pooled(student, teacher), zeros)[0]

    value, (of_student, of_teacher) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(student, teacher)
    assert not np.any(of_teacher)
    given = tensor(student).requires_grad_()
    expected = reference(given.chunk(2), tensor(teacher).chunk(2))
    expected.backward()
    gradient = given.grad.numpy()
    differences = (
        abs(float(value) - float(expected)) / abs(float(expected)),
        np.abs(of_student - gradient).max() / np.abs(gradient).max(),
    )
    print(f"{method.name}: loss differs by {differences[0]:.1e}, gradients by {differences[1]:.1e}")
    return max(differences)
