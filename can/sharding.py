"""How a run is laid out over devices: the batch over all of them, each parameter over the `fsdp` ones.

The training step is written for global arrays under `jax.jit`; these shardings are all that says where things live, on
one device (a mesh of one) as on a pod. XLA adds the communication.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from can.errors import ConfigError

PyTree = Any
AXES = ("data", "fsdp")


def make_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """All devices of all hosts as a `data` x `fsdp` grid; `data=-1` takes as many as there are.

    Devices along `fsdp` share each parameter between them, those along `data` hold copies. Raises ConfigError if the
    grid does not take up the devices.
    """
    count = jax.device_count()
    if fsdp < 1 or count % fsdp:
        raise ConfigError(f"fsdp {fsdp} does not divide the {count} devices: pass an --fsdp that does")
    if data == -1:
        data = count // fsdp
    if data * fsdp != count:
        raise ConfigError(f"a mesh of data {data} x fsdp {fsdp} does not take up the {count} devices")
    return jax.make_mesh((data, fsdp), AXES, axis_types=(AxisType.Auto, AxisType.Auto))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Images, by their first axis, over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def state_sharding(state: PyTree, mesh: Mesh | AbstractMesh) -> PyTree:
    """A sharding for each leaf of a training state (or of its shapes): its largest axis that `fsdp` divides is split.

    A leaf without such an axis is copied to every device, and with `fsdp` = 1 all are. Moments follow their parameters,
    having their shapes.
    """
    parts = mesh.shape["fsdp"]

    def sharding(leaf: Any) -> NamedSharding:
        shape = np.shape(leaf)
        divisible = [axis for axis, size in enumerate(shape) if size and size % parts == 0]
        if parts == 1 or not divisible:
            return NamedSharding(mesh, PartitionSpec())
        widest = max(divisible, key=lambda axis: shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * widest, "fsdp"))

    return jax.tree.map(sharding, state)


def shard_rows(x: Array) -> Array:
    """`x` with its first axis over all devices of the mesh that the step is traced for; `x` itself without one.

    A step needs it where views and images become one axis. XLA cannot follow a split of the inner of two axes through
    that: without the hint, it copies the whole batch to every device, and each device computes everything.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return x if mesh.empty or mesh.size == 1 else jax.lax.with_sharding_constraint(x, PartitionSpec(AXES))


def traced_for(mesh: Mesh, step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, which is told the mesh while it is traced: what `shard_rows` and `gathered` go by."""

    def on_mesh(*args: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(*args)

    return on_mesh


def gathered(params: PyTree) -> PyTree:
    """Parameters that devices share between them, whole on each for the time of a step.

    Left to itself, XLA computes parts of each product where the parts of its weights are, and sums activations over the
    devices: for a whole batch that moves many times the bytes of the weights.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return (
        params if mesh.empty or mesh.shape["fsdp"] == 1 else jax.lax.with_sharding_constraint(params, PartitionSpec())
    )


def local_rows(mesh: Mesh, batch_size: int) -> Int[np.ndarray, " rows"]:
    """The rows of a global batch that this host's devices hold, ascending: what this host has to read.

    Raises ConfigError if the images cannot be divided evenly among the devices.
    """
    if batch_size % mesh.size:
        raise ConfigError(
            f"{batch_size} images a step cannot be divided among {mesh.size} devices: "
            f"pass a --batch_size that is a multiple of {mesh.size}"
        )
    held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in held.values()]))


def put_batch(batch: PyTree, mesh: Mesh, batch_size: int) -> PyTree:
    """The global batch of `batch_size` images, out of arrays with this host's `local_rows` of it.

    The place of an image in the batch does not depend on which device holds it, nor on the order of devices.
    """
    sharding = batch_sharding(mesh)
    if jax.process_count() == 1:
        return jax.tree.map(lambda array: jax.device_put(array, sharding), batch)
    rows = local_rows(mesh, batch_size)

    def put(array: np.ndarray) -> Array:
        def part(index: Any) -> np.ndarray:
            wanted = np.arange(batch_size)[index[0]]
            return array[np.searchsorted(rows, wanted)]

        return jax.make_array_from_callback((batch_size, *array.shape[1:]), sharding, part)

    return jax.tree.map(put, batch)


def put(tree: PyTree, shardings: PyTree) -> PyTree:
    """Arrays that every host has whole, laid out over the devices of all: each host fills those of its own."""

    def place(array: Array | np.ndarray, sharding: NamedSharding) -> Array:
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree.map(place, tree, shardings) if jax.process_count() > 1 else jax.device_put(tree, shardings)


def put_copies(tree: PyTree, mesh: Mesh) -> PyTree:
    """Arrays that every host has whole, copied to every device."""
    return put(tree, jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), tree))
