"""Floating-point operations of any JAX function, counted in its jaxpr: nothing is compiled, run or allocated.

One multiply-add is two operations. Everything that a result depends on is counted as it is traced, recomputation under
remat too; what a compiler may merge later is not taken off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params
from jax.interpreters.partial_eval import dce_jaxpr

# Dot products in a `jax.named_scope` of this name repeat earlier ones: `Flops.repeated` says how many operations.
RECOMPUTED = "recomputed"
# fmt: off
# One operation per element of the result, if it is floating-point (integers make indices and random bits).
ELEMENTWISE = frozenset({
    "abs", "add", "add_any", "atan2", "cbrt", "ceil", "clamp", "cos", "cosh", "div", "erf", "erf_inv", "erfc", "exp",
    "exp2", "expm1", "floor", "integer_pow", "lgamma", "log", "log1p", "logistic", "max", "min", "mul", "neg", "pow",
    "rem", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh",
})
# One operation per element of the operand.
REDUCTIONS = frozenset({
    "argmax", "argmin", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "reduce_max", "reduce_min",
    "reduce_prod", "reduce_sum",
})
SCATTER_REDUCTIONS = frozenset({"scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub"})
OPAQUE = frozenset({
    "cholesky", "custom_call", "eig", "eigh", "fft", "ffi_call", "geqrf", "householder_product", "io_callback", "lu",
    "pallas_call", "pure_callback", "qr", "ragged_dot_general", "schur", "svd", "triangular_solve", "tridiagonal_solve",
})
# fmt: on


@dataclass(frozen=True)
class Flops:
    """A number of floating-point operations, and what it leaves out."""

    matmul: int = 0  # in dot products and convolutions
    repeated: int = 0  # those of `matmul` that a scope says repeat earlier ones
    elementwise: int = 0  # in all other floating-point arithmetic; a transcendental function is one operation
    caveats: tuple[str, ...] = ()  # what could not be counted, or only in part; empty if all was

    @property
    def total(self) -> int:
        """All operations."""
        return self.matmul + self.elementwise

    @property
    def macs(self) -> int:
        """Multiply-adds of the dot products and convolutions: what papers and fvcore mean by the "FLOPs" of a model."""
        return self.matmul // 2

    def __add__(self, other: Flops) -> Flops:
        caveats = tuple(dict.fromkeys(self.caveats + other.caveats))
        counts = self.matmul + other.matmul, self.repeated + other.repeated, self.elementwise + other.elementwise
        return Flops(*counts, caveats)

    def __mul__(self, times: int) -> Flops:
        return Flops(self.matmul * times, self.repeated * times, self.elementwise * times, self.caveats)


def count_flops(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Flops:
    """Counts what `fn(*args, **kwargs)` computes, jitted or not.

    Arguments are pytrees of arrays or of `jax.ShapeDtypeStruct`, and what `fn` was jitted with as static; bind other
    values with `functools.partial`. A scan counts once per step, a `cond` as its dearest branch, a `shard_map` on all
    of its devices. The length of a `while` is not known: it counts once, and a caveat says so.
    """
    jitted = fn if hasattr(fn, "trace") else jax.jit(fn)
    # What no result depends on, such as the value of a function of which only the gradient is used, is never run.
    jaxpr, _ = dce_jaxpr(jitted.trace(*args, **kwargs).jaxpr.jaxpr, used_outputs=True)
    return _count(jaxpr)


def _count(jaxpr: Jaxpr) -> Flops:
    return sum(map(_count_equation, jaxpr.eqns), start=Flops())


def _count_equation(eqn: JaxprEqn) -> Flops:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        matmul = _dot(eqn)
        again = any(scope.name == RECOMPUTED for scope in eqn.source_info.name_stack.stack)
        return Flops(matmul, matmul if again else 0)
    if name == "conv_general_dilated":
        return Flops(matmul=_convolution(eqn))
    if name in OPAQUE:
        return Flops(caveats=(f"{name}: not counted",))
    if name in ELEMENTWISE:
        return Flops(elementwise=_float_size(eqn.outvars[0].aval))
    if name in REDUCTIONS:
        return Flops(elementwise=_float_size(eqn.invars[0].aval))
    if name in SCATTER_REDUCTIONS:
        return Flops(elementwise=_float_size(eqn.invars[2].aval))

    inner = [_count(jaxpr) for jaxpr in jaxprs_in_params(params)]
    if name == "cond":
        return max(inner, key=lambda flops: flops.total)
    once = sum(inner, start=Flops())
    if name == "scan":
        return once * params["length"]
    if name == "shard_map":
        return once * math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    if name == "while":
        return once + Flops(caveats=("while: number of iterations unknown, counted once",))
    return once


def _dot(eqn: JaxprEqn) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs, _, out = _shapes(eqn)
    return 2 * math.prod(out) * math.prod(lhs[axis] for axis in contracted)


def _convolution(eqn: JaxprEqn) -> int:
    """Products with padding, or with the zeros that a dilation puts between the inputs, are not counted (as in XLA).

    The gradient of a strided convolution is a dilated one: it would seem to cost stride times as much per axis.
    """
    params = eqn.params
    lhs, rhs, out = _shapes(eqn)
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    flops = 2 * out[out_spec[0]] * out[out_spec[1]] * rhs[rhs_spec[1]]
    for axis, (stride, (before, _), lhs_dilation, rhs_dilation) in enumerate(
        zip(params["window_strides"], params["padding"], params["lhs_dilation"], params["rhs_dilation"], strict=True),
        start=2,
    ):
        outputs = np.arange(out[out_spec[axis]])[:, None]
        taps = np.arange(rhs[rhs_spec[axis]])
        place = outputs * stride + taps * rhs_dilation - before
        last = (lhs[lhs_spec[axis]] - 1) * lhs_dilation
        flops *= int(((place >= 0) & (place <= last) & (place % lhs_dilation == 0)).sum())
    return flops


def _shapes(eqn: JaxprEqn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The shapes of the left operand, the right operand and the result."""
    atoms: list[Any] = [*eqn.invars[:2], eqn.outvars[0]]
    lhs, rhs, out = (atom.aval.shape for atom in atoms)
    return lhs, rhs, out


def _float_size(aval: Any) -> int:
    return aval.size if jnp.issubdtype(aval.dtype, jnp.inexact) else 0
