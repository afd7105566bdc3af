"""Runs that differ in their seeds alone, in one program: `jax.vmap` of the training step over their stacked states.

A step of a small model leaves an accelerator waiting for the next launch, and that of several seeds launches as often.
Each seed has images and keys of its own, and computes what it computes alone, up to rounding. One seed is not stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from can.sharding import AXES

State = TypeVar("State")


def of_seeds(step: Callable[..., Any]) -> Callable[..., Any]:
    """A training step of states, batches and keys with a first axis of seeds; they share the learning rate."""
    return jax.vmap(step, in_axes=(0, 0, None, 0))


def stacked(shardings: Any) -> Any:
    """The layout of several seeds' arrays, where `shardings` is that of one's."""
    return jax.tree.map(lambda one: NamedSharding(one.mesh, PartitionSpec(None, *one.spec)), shardings)


def stack(states: Sequence[State]) -> State:
    """The states of several seeds with a first axis of seeds; that of a single one as it is."""
    return states[0] if len(states) == 1 else _stack(*states)


def stack_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What each seed's row began with, by metric, `[steps, seeds]`; nothing if they began otherwise."""
    if len(rows) == 1:
        return dict(rows[0])
    alike = len({tuple((name, len(row[name])) for name in sorted(row)) for row in rows}) == 1
    return {name: np.stack([np.asarray(row[name]) for row in rows], axis=-1) for name in rows[0]} if alike else {}


def of_one(states: State, place: int, count: int) -> State:
    """That of one of `count` seeds: its state, on the device."""
    return states if count == 1 else _of_one(states, place)


def measured_of_one(values: Any, place: int, count: int) -> Any:
    """What one of `count` seeds measured, out of arrays of numpy whose last axis is of seeds."""
    return values if count == 1 else jax.tree.map(lambda entry: entry[..., place], values)


def put_batches(batches: Sequence[dict[str, Any]], mesh: Mesh) -> dict[str, jax.Array]:
    """The global batches of several seeds with a first axis of seeds; this host has all of their images."""
    layout = NamedSharding(mesh, PartitionSpec(None, AXES))
    return {name: jax.device_put(np.stack([batch[name] for batch in batches]), layout) for name in batches[0]}


@jax.jit
def _stack(*states: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@jax.jit
def _of_one(states: Any, place: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], states)
