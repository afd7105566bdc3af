"""Checkpoints are whole or absent, exact to the bit, and independent of the number of devices."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint.experimental.v1 as ocp
import pytest
from flax import nnx

from can.errors import UserError
from can.runs.checkpoint import Checkpoints
from can.system import hosts
from can.system.stopping import Stopped


class State(NamedTuple):
    params: Any
    batch_stats: Any
    opt_state: Any
    step: Any


class Net(nnx.Module):
    def __init__(self, width: int) -> None:
        rngs = nnx.Rngs(0)
        self.encoder = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.List([nnx.BatchNorm(width, rngs=rngs)])
        self.half = nnx.Param(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3) / 7)


def make_state(step: int = 0, width: int = 8) -> State:
    _, params, batch_stats = nnx.split(Net(width), nnx.Param, nnx.BatchStat)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    return State(params, batch_stats, optimizer.init(params), jnp.int32(step))


def assert_same_bits(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (type(x), np.asarray(x).dtype) == (type(y), np.asarray(y).dtype)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@contextlib.contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Writing past `size` bytes of a file fails inside, as it does on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def noise(megabytes: int) -> jax.Array:
    """An array that does not compress."""
    return jnp.asarray(np.random.default_rng(0).integers(0, 2**32, megabytes * 2**18, dtype=np.uint32))


def test_a_state_of_every_kind_of_leaf_comes_back_to_the_bit(tmp_path: Path) -> None:
    odd = np.array([np.nan, -0.0, 1e-45, np.inf, 0.1], np.float32)
    odd_nan = np.array([0x7FC01234, 0xFFC00001], np.uint32).view(np.float32)  # NaNs with payloads
    state = {
        "train": make_state(3),
        "odd": jnp.asarray(odd),
        "nan": jnp.asarray(odd_nan),
        "host": odd,
        "n": 7,
        "x": 0.1,
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state)
    restored, step = Checkpoints(tmp_path).restore(state)
    assert step == 3
    assert_same_bits(restored, state)


def test_an_abstract_state_is_enough_to_restore(tmp_path: Path) -> None:
    state = make_state(5)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state)
    restored, _ = Checkpoints(tmp_path).restore(jax.eval_shape(make_state))
    assert_same_bits(restored, state)


def test_without_checkpoints_there_is_nothing_to_restore_and_no_folder_appears(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none")
    assert checkpoints.latest_step is None
    assert checkpoints.restore(make_state()) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("keep", [1, 2])
def test_only_the_latest_are_kept_and_the_latest_is_restored(tmp_path: Path, keep: int) -> None:
    with Checkpoints(tmp_path, keep=keep) as checkpoints:
        for step in (1, 2, 10):
            checkpoints.save(step, {"x": jnp.int32(step)})
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [1, 2, 10][-keep:]
    state, step = Checkpoints(tmp_path).restore({"x": jnp.int32(0)})
    assert (int(state["x"]), step) == (10, 10)


def test_another_training_of_the_folder_is_neither_mixed_in_nor_overwritten(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(10, {"x": jnp.int32(1)})
        checkpoints.save(10, {"x": jnp.int32(1)})  # harmless: the same training
    anew = Checkpoints(tmp_path)
    for step in (5, 10):
        with pytest.raises(ValueError, match="has step 10 already"):
            anew.save(step, {"x": jnp.int32(2)})
    anew.clear()
    anew.save(5, {"x": jnp.int32(2)}, wait=True)
    assert int(anew.restore({"x": jnp.int32(0)})[0]["x"]) == 2
    anew.close()


def test_buffers_donated_right_after_a_save_do_not_change_what_is_saved(tmp_path: Path) -> None:
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros((1000, 1000))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": x})
        for _ in range(20):
            x = add_one(x)
    state, _ = Checkpoints(tmp_path).restore({"x": x})
    assert float(jnp.abs(state["x"]).max()) == 0.0
    assert float(x[0, 0]) == 20.0


def test_a_part_is_restored_without_the_rest(tmp_path: Path) -> None:
    state = make_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state)
    part, step = Checkpoints(tmp_path).restore_part("params", "encoder", example=state.params["encoder"])
    assert step == 4
    assert_same_bits(part, state.params["encoder"])
    with pytest.raises(UserError, match="params/decoder/bias/value is missing there"):
        Checkpoints(tmp_path).restore_part("params", "decoder", example=state.params["encoder"])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda s: make_state(width=4), r"params/encoder/bias/value is float32\[8\] there and float32\[4\] here"),
        (lambda s: s._replace(step=jnp.float32(0)), r"step is int32\[\] there and float32\[\] here"),
        (lambda s: s._replace(batch_stats={"new": jnp.zeros(2)}), r"batch_stats/new is missing there"),
        (lambda s: s._replace(params={}), r"params/encoder/bias/value is float32\[8\] there and missing here"),
    ],
    ids=["shape", "dtype", "more leaves", "fewer leaves"],
)
def test_a_checkpoint_of_another_model_is_refused_naming_the_leaf(tmp_path: Path, other: Any, message: str) -> None:
    state = make_state()
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state)
    with pytest.raises(UserError, match=message) as raised:
        Checkpoints(tmp_path).restore(other(state))
    assert "\n" not in str(raised.value)


def test_a_full_disk_is_one_line_and_leaves_the_previous_checkpoint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": noise(1), "n": 1}, wait=True)
    with files_limited_to(2**19), pytest.raises(UserError, match="the disk is full") as raised:
        checkpoints.save(2, {"x": noise(1) + 1, "n": 2})
        checkpoints.wait()
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]  # and the part is gone
    assert checkpoints.restore({"x": noise(1), "n": 0})[0]["n"] == 1
    checkpoints.save(2, {"x": noise(1), "n": 2})  # once there is space, saving works again
    checkpoints.close()
    assert checkpoints.latest_step == 2
    assert capfd.readouterr().err == ""  # orbax logs its threads' tracebacks otherwise


def test_one_of_several_hosts_whose_disk_is_full_does_not_wait_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orbax waits until all hosts have written, which they never have."""
    monkeypatch.setattr(hosts, "are_several", lambda: True)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": noise(1), "n": 1}, wait=True)
    monkeypatch.setattr(ocp.training.Checkpointer, "wait", lambda self: threading.Event().wait())
    with files_limited_to(2**19):
        with monkeypatch.context() as saved_before:
            saved_before.setattr(checkpoints, "wait", lambda: None)
            checkpoints.save(2, {"x": noise(1) + 1, "n": 2})
        with pytest.raises(UserError, match="the disk is full"):
            while True:
                checkpoints.check()
                time.sleep(0.01)
    assert Checkpoints(tmp_path).restore({"x": noise(1), "n": 0})[0]["n"] == 1


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_really_is_full(tiny_disk: Path) -> None:
    state = {"x": noise(1), "n": 1}
    with pytest.raises(UserError, match="No space left on device"), Checkpoints(tiny_disk / "c") as checkpoints:
        checkpoints.save(1, state)
        checkpoints.wait()
        (tiny_disk / "filler").write_bytes(b"0" * (3 * 2**19))
        checkpoints.save(2, {"x": noise(1) + 1, "n": 2})
    assert Checkpoints(tiny_disk / "c").restore(state)[0]["n"] == 1


def test_leaving_on_an_error_shows_that_error_and_not_the_full_disk(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="first"), files_limited_to(2**19), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": noise(1)})
        raise RuntimeError("first")


ON_EIGHT_DEVICES = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from can.runs.checkpoint import Checkpoints

mesh = Mesh(np.asarray(jax.devices()).reshape(4, 2), ("data", "fsdp"))
sharded = NamedSharding(mesh, P("fsdp", None))
state, step = Checkpoints(Path(sys.argv[1])).restore({"w": jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=sharded)})
assert state["w"].sharding == sharded and len(state["w"].addressable_shards) == 8, state["w"].sharding
with Checkpoints(Path(sys.argv[2])) as checkpoints:
    checkpoints.save(step + 1, {"w": state["w"] * 2})
"""


def test_a_checkpoint_of_one_device_is_restored_on_eight_and_back(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    state = {"w": jnp.arange(24, dtype=jnp.float32).reshape(8, 3)}
    with Checkpoints(tmp_path / "one") as checkpoints:
        checkpoints.save(1, state)
    run_python(ON_EIGHT_DEVICES, str(tmp_path / "one"), str(tmp_path / "eight"), devices=8)
    restored, step = Checkpoints(tmp_path / "eight").restore(state)
    assert step == 2
    assert restored["w"].devices() == {jax.devices()[0]}
    np.testing.assert_array_equal(restored["w"], state["w"] * 2)


def test_one_of_several_processes_that_is_stopped_does_not_wait_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing, orbax would, while they wait for this one in a collective operation."""
    with pytest.raises(Stopped), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": noise(1), "n": 1}, wait=True)
        monkeypatch.setattr(hosts, "are_several", lambda: True)
        monkeypatch.setattr(ocp.training.Checkpointer, "close", lambda self: pytest.fail("it waits"))
        raise Stopped
    monkeypatch.undo()
    checkpoints.close()
