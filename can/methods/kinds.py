"""What a method holds besides its parameters, all of which only the training step changes.

Such variables lie in `TrainState.batch_stats` beside BatchNorm's statistics, and so in every checkpoint.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from can.sharding import gathered


class Target(nnx.Variable[Array]):
    """Follows the parameter of the same path by a moving average (`follow`)."""


class Running(nnx.Variable[Array]):
    """Changed by the loss itself, such as DINO's centre."""


class Fixed(nnx.Variable[Array]):
    """Set once, by `Method.prepare`, before the first step, such as a codebook."""


def targets(**modules: nnx.Module) -> nnx.Dict:
    """Copies of modules, whose parameters are `Target`s; a method keeps them as its `target`.

    The names are those that the method has its own modules under.
    """
    copies = {}
    for name, module in modules.items():
        copies[name] = nnx.clone(module)
        for _, node in nnx.iter_modules(copies[name]):
            for attribute, variable in list(vars(node).items()):
                if isinstance(variable, nnx.Param):
                    setattr(node, attribute, Target(variable[...]))
    return nnx.Dict(copies)


def follow(other: nnx.State, params: nnx.State, momentum: Float[Array, ""]) -> nnx.State:
    """`other` with its targets moved: momentum * theirs + (1 - momentum) * the parameter's."""
    ours = dict(params.flat_state())

    def moved(path: tuple[Any, ...], variable: Any) -> Any:
        if not isinstance(variable, Target):
            return variable
        old, new = variable.get_value(), ours[path[1:]].get_value()
        return variable.replace(momentum * old + (1 - momentum) * new)

    return nnx.State.from_flat_path({path: moved(path, variable) for path, variable in other.flat_state()})


def split_method(method: nnx.Module) -> tuple[nnx.GraphDef, nnx.State, nnx.State]:
    """A method's structure, its parameters, and all else that training changes."""
    graphdef, params, other = nnx.split(method, nnx.Param, ...)  # type: ignore[misc]  # flax's stub
    return graphdef, params, other


def gathered_kept(other: nnx.State) -> nnx.State:
    """`other` with all but running statistics whole on each device, as `can.sharding.gathered` makes it."""

    def whole(variable: Any) -> Any:
        return gathered(variable) if isinstance(variable, Target | Fixed) else variable

    return jax.tree.map(whole, other, is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


def replaced(other: nnx.State, values: dict[str, Array]) -> nnx.State:
    """`other` with new values, by their paths such as `tokeniser/codes`; raises KeyError for one that is not there."""
    flat = dict(other.flat_state())
    for name, value in values.items():
        path = tuple(name.split("/"))
        old = flat[path].get_value()
        flat[path] = flat[path].replace(jnp.asarray(value, old.dtype).reshape(old.shape))
    return nnx.State.from_flat_path(flat)
