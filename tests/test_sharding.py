"""One program, any layout: batches and states are split among devices and hosts without changing a result."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec as P

from can.errors import ConfigError
from can.sharding import AXES, batch_sharding, make_mesh, put_batch, state_sharding


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((64, 192), P(None, "fsdp")),
        ((192, 64), P("fsdp")),
        ((12, 64, 64), P(None, "fsdp")),  # the first of equals
        ((12, 7, 5), P("fsdp")),  # the widest axis that can be divided
        ((7, 5), P()),
        ((), P()),
        ((0, 3), P()),
    ],
)
def test_a_leaf_is_split_along_its_widest_divisible_axis(shape: tuple[int, ...], spec: P) -> None:
    mesh = AbstractMesh((2, 4), AXES)
    state = {"w": jax.ShapeDtypeStruct(shape, jnp.float32), "n": 3}
    shardings = state_sharding(state, mesh)
    assert shardings["w"].spec == spec
    assert shardings["n"].spec == P()


def test_without_fsdp_every_device_holds_the_whole_state() -> None:
    shardings = state_sharding({"w": jnp.ones((8, 8))}, AbstractMesh((8, 1), AXES))
    assert shardings["w"].is_fully_replicated


@pytest.mark.parametrize(("data", "fsdp"), [(-1, 5), (3, 1), (-1, 0), (0, 1)])
def test_a_mesh_that_does_not_take_up_the_devices_is_refused(data: int, fsdp: int) -> None:
    with pytest.raises(ConfigError, match="devices"):
        make_mesh(data, fsdp)


def test_the_default_mesh_takes_all_devices_for_data() -> None:
    mesh = make_mesh()
    assert (mesh.axis_names, dict(mesh.shape)) == (AXES, {"data": jax.device_count(), "fsdp": 1})
    assert batch_sharding(mesh).spec == P(AXES)


def test_a_batch_keeps_its_values_and_types() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), np.uint8)
    batch = put_batch({"image": images, "label": np.arange(16)}, make_mesh(), 16)
    assert batch["image"].dtype == jnp.uint8
    np.testing.assert_array_equal(batch["image"], images)
    np.testing.assert_array_equal(batch["label"], np.arange(16))


ON_EIGHT_DEVICES = """
import jax, jax.numpy as jnp, numpy as np, pytest
from jax.sharding import PartitionSpec as P
from can.errors import ConfigError
from can.sharding import batch_sharding, local_rows, make_mesh, put_batch, state_sharding

rng = np.random.default_rng(0)
params = {"w": rng.standard_normal((16, 24), np.float32), "b": rng.standard_normal(3, np.float32)}
x = rng.standard_normal((32, 16), np.float32)

def loss(params, x):
    y = jnp.tanh(x @ params["w"])[:, :3] + params["b"]
    return jnp.mean((y - y.mean(0)) ** 4)  # the mean is over the global batch

expected, expected_grads = jax.value_and_grad(loss)(params, x)
for data, fsdp in ((-1, 1), (-1, 4), (1, 8)):
    mesh = make_mesh(data, fsdp)
    shardings = state_sharding(params, mesh)
    placed, batch = jax.device_put(params, shardings), put_batch(x, mesh, 32)
    assert {shard.data.shape for shard in batch.addressable_shards} == {(4, 16)}
    assert {shard.data.shape for shard in placed["w"].addressable_shards} == {(16, 24 // fsdp)}
    step = jax.jit(jax.value_and_grad(loss), in_shardings=(shardings, batch_sharding(mesh)))
    value, grads = step(placed, batch)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), grads, expected_grads)
with pytest.raises(ConfigError, match="30 images .* 8 devices.* multiple of 8"):
    local_rows(make_mesh(), 30)
assert local_rows(make_mesh(), 32).tolist() == list(range(32))
with pytest.raises(ConfigError, match="fsdp 3"):
    make_mesh(fsdp=3)
"""


def test_loss_and_gradients_on_eight_devices_are_those_of_one(run_python: Callable[..., Any]) -> None:
    run_python(ON_EIGHT_DEVICES, devices=8)


AUGMENTATION_ON_EIGHT_DEVICES = """
import re
import jax, jax.numpy as jnp
from can.augment import augment, normalize
from can.config import AugmentConfig
from can.methods.method import rows_of
from can.sharding import batch_sharding, make_mesh

mesh = make_mesh()

def views(key, images):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return rows_of(normalize(augment(key, images, AugmentConfig(), image_size=40, views=2)))

key = jax.eval_shape(lambda: jax.random.key(0))
step = jax.jit(views, in_shardings=(None, batch_sharding(mesh)), out_shardings=batch_sharding(mesh))
for shape in ((64, 48, 48, 3), (64, 2, 40, 40, 3)):  # whole images, and crops that were made on the host
    program = step.lower(key, jax.ShapeDtypeStruct(shape, jnp.uint8)).compile().as_text()
    print(re.findall(r"= (\\S+) all-gather\\(", program))
"""


def test_augmentation_gathers_no_images(run_python: Callable[..., Any]) -> None:
    """XLA once brought the rows into the order of the views inside the blur, gathering images for each of its taps."""
    assert run_python(AUGMENTATION_ON_EIGHT_DEVICES, devices=8).stdout == "[]\n[]\n"


ATTENTION_ON_EIGHT_DEVICES = """
import re
import jax, jax.numpy as jnp
from flax import nnx
from can.models.transformer import Block
from can.sharding import batch_sharding, make_mesh

graphdef, params = nnx.split(nnx.eval_shape(lambda: Block(32, 4, 64, dtype="float32", rngs=nnx.Rngs(0))))
def loss(x, params):
    return jnp.sum(nnx.merge(graphdef, params)(x, 16) ** 2)

sharding = batch_sharding(make_mesh())
step = jax.jit(jax.grad(loss), in_shardings=(sharding, None), out_shardings=sharding)
program = step.lower(jax.ShapeDtypeStruct((16 * 5, 32), jnp.float32), params).compile().as_text()
print(re.findall(r"= (\\S+) (?:all-gather|all-to-all|collective-permute)\\(", program))
"""


def test_attention_moves_no_tokens_between_devices(run_python: Callable[..., Any]) -> None:
    """Images and heads become one axis in it, images first: each device has the heads of its own."""
    assert run_python(ATTENTION_ON_EIGHT_DEVICES, devices=8).stdout == "[]\n"


STEP_ON_EIGHT_DEVICES = """
import jax, jax.numpy as jnp
from can.sharding import make_mesh
from can.training_step import abstract_state, jit_train_step
from experiments.benchmarks.hlo import collectives
from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve

config = resolve(scale_named("smoke"), Spec("can", "vit_l", "in1k", 800), seed=0, overrides=dict(batch_size=64))
mesh = make_mesh(fsdp=8)
graphdef, state = abstract_state(config, mesh=mesh)
images = jax.ShapeDtypeStruct((64, 32, 32, 3), jnp.uint8)
rates, key = {"learning_rate": jax.ShapeDtypeStruct((), jnp.float32)}, jax.eval_shape(lambda: jax.random.key(0))
program = jit_train_step(graphdef, config, state, mesh).lower(state, {"image": images}, rates, key).compile()
weights = 4 * sum(leaf.size for leaf in jax.tree.leaves(state.params))
print(sum(sent.bytes for sent in collectives(program.as_text()).values()) / weights)
"""


def test_devices_that_share_parameters_send_weights_and_no_activations(run_python: Callable[..., Any]) -> None:
    """Once the weights and at most twice their gradients, and little else; activations were 30 times the weights."""
    assert 2 < float(run_python(STEP_ON_EIGHT_DEVICES, devices=8).stdout) < 4


INFO_NCE_ON_EIGHT_DEVICES = """
import re
import jax, jax.numpy as jnp, numpy as np
from can.objectives import info_nce
from can.sharding import AXES, make_mesh
from jax.sharding import NamedSharding, PartitionSpec as P

u = np.random.default_rng(0).standard_normal((2, 256, 32), np.float32)
u /= np.linalg.norm(u, axis=-1, keepdims=True)
expected, expected_grads = jax.value_and_grad(info_nce)(u)
for fsdp in (1, 4):
    mesh = make_mesh(fsdp=fsdp)

    def on_mesh(u):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return info_nce(u)

    images = NamedSharding(mesh, P(None, AXES))
    step = jax.jit(jax.value_and_grad(on_mesh), in_shardings=images, out_shardings=(None, images)).lower(u).compile()
    shapes = re.findall(r"f32\\[(\\d+),(\\d+)\\]", step.as_text())
    print(max((int(a) * int(b), int(a), int(b)) for a, b in shapes)[1:])
    value, grads = step(jax.device_put(u, images))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(grads, expected_grads, rtol=1e-4, atol=1e-8)
"""


def test_no_device_holds_the_similarities_of_all_projections(run_python: Callable[..., Any]) -> None:
    """512 projections on 8 devices: 64 rows of 512 each, and the loss and gradient of one device."""
    assert run_python(INFO_NCE_ON_EIGHT_DEVICES, devices=8).stdout == "(64, 512)\n(64, 512)\n"


ON_TWO_HOSTS = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.experimental import multihost_utils
from can.runs.checkpoint import Checkpoints
from can.sharding import local_rows, make_mesh, put_batch, put_copies, state_sharding

port, host, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=host)
mesh = make_mesh(fsdp=4)
images = np.arange(8, dtype=np.float32).reshape(8, 1)
total = jax.jit(lambda x: (x.T @ jnp.arange(8.0))[0])
shuffled = jax.sharding.Mesh(mesh.devices[:, [2, 0, 3, 1]], mesh.axis_names, axis_types=mesh.axis_types)
for of in (mesh, shuffled):  # neighbours in the mesh may be of other hosts
    rows = local_rows(of, 8)
    assert len(rows) == 4
    batch = put_batch(images[rows], of, 8)  # each host has its half
    assert batch.shape == (8, 1), batch.shape
    assert float(total(batch)) == float(images[:, 0] @ np.arange(8))
    everywhere = put_copies({"w": images}, of)["w"]
    assert everywhere.is_fully_replicated and np.array_equal(everywhere, images)

state = {"w": jnp.arange(32.0).reshape(8, 4)}
shardings = state_sharding(state, mesh)
state = jax.jit(lambda s: s, out_shardings=shardings)(state)
assert len(state["w"].addressable_shards) == 2
with Checkpoints(Path(directory)) as checkpoints:
    for step in (1, 2):
        checkpoints.save(step, jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), out_shardings=shardings)(state))
    restored, step = checkpoints.restore(state)
assert step == 2
for shard, old in zip(restored["w"].addressable_shards, state["w"].addressable_shards, strict=True):
    np.testing.assert_array_equal(shard.data, old.data + 1)

# The second is damaged: both hosts go back to the first, and its place is free.
multihost_utils.sync_global_devices("saved")
if host == 0:
    path = max(Path(directory, "2").rglob("d/*"), key=lambda path: path.stat().st_size)
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
multihost_utils.sync_global_devices("damaged")
with Checkpoints(Path(directory)) as checkpoints:
    restored, step = checkpoints.restore(state)
    assert step == 1, step
    checkpoints.save(3, restored)
"""


def test_two_hosts_make_one_batch_and_one_checkpoint(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    with ThreadPoolExecutor() as hosts:
        list(hosts.map(lambda host: run_python(ON_TWO_HOSTS, str(port), host, str(tmp_path / "c"), devices=2), "01"))
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["1", "3"]
