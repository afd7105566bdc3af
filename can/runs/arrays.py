"""The arrays of a checkpoint: what they are, compared with what is asked for before they are read.

Orbax casts dtypes in silence, and when it reads a part it makes up leaves that are not there.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp

from can.errors import UserError
from can.system.places import Place

PyTree = Any
BESIDE = "row"  # of what is saved, the part that belongs to the log: a state is the same with it and without it


def load(folder: Place, example: PyTree, part: str) -> PyTree:
    """What a checkpoint holds under `part`, such as `params/encoder/`, laid out as `example` says.

    Raises UserError, naming the first leaf that differs, unless that is what `example` asks for.
    """
    _check_same_leaves(folder, example, part)
    context = ocp.Context()
    context.pytree.loading.partial_load = True  # `example` alone says what is read, and its structure
    with context:
        return ocp.load(folder, jax.tree.map(_abstract, example))


def _check_same_leaves(folder: Place, example: PyTree, part: str) -> None:
    """Raises UserError unless what is asked for is all that the checkpoint has whose names begin with `part`.

    What was trained and is not asked for would be left out of the network without a word.
    """
    saved, asked = forms_in(folder), forms(example)
    if not saved:
        raise ValueError("its list of arrays cannot be read")
    names = [*asked, *(name for name in saved if name.startswith(part) and (part or not is_beside(name)))]
    different = list(dict.fromkeys(name for name in names if saved.get(name) != asked.get(name)))
    if different:
        name, others = different[0], len(different) - 1
        raise UserError(
            f"the checkpoint {folder} is of another model: {name} is {saved.get(name, 'missing')} there and "
            f"{asked.get(name, 'missing')} here{f' ({others} more differ)' if others else ''}; "
            "pass another --name, --workdir or --checkpoints, or --force=train to start anew"
        )


def forms_in(folder: Place) -> dict[str, str]:
    """`forms` of what a checkpoint holds."""
    return forms(ocp.metadata(folder).metadata)


def forms(tree: PyTree) -> dict[str, str]:
    """Each leaf's name and what it is, such as `params/encoder/w: float32[192, 64]`."""
    return {
        name: f"{np.dtype(leaf.dtype)}{list(leaf.shape)}" if hasattr(leaf, "shape") else type(leaf).__name__
        for name, leaf in named_leaves(tree).items()
    }


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves by the names that a checkpoint has for them."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def is_beside(name: str) -> bool:
    """Whether a leaf belongs to the log, not to the state."""
    return name.partition("/")[0] == BESIDE


def _abstract(leaf: Any) -> Any:
    """What orbax is to make of a leaf: an array on devices of today, never on those that it was saved from."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
