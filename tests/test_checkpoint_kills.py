"""A process killed with SIGKILL while it saves leaves the checkpoint before, whole, and nothing that stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from can.runs.checkpoint import Checkpoints

SAVE_UNTIL_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import jax.numpy as jnp, numpy as np
from can.runs.checkpoint import Checkpoints

directory, kills = Path(sys.argv[1]), int(sys.argv[2])
state = lambda step: {"x": jnp.full((512, 1024), step, jnp.float32), "mod": {"y": jnp.int32(step)}}

def save_for_ever():
    checkpoints = Checkpoints(directory)
    step = checkpoints.latest_step or 0
    while True:
        step += 1
        checkpoints.save(step, state(step))

def check():
    latest = Checkpoints(directory).latest_step
    restored, step = Checkpoints(directory).restore(state(0))
    assert step == latest and (directory / str(step) / "SHA256SUMS").exists(), (step, latest)  # complete is sound
    assert (np.asarray(restored["x"]) == step).all() and int(restored["mod"]["y"]) == step, step
    print(step, flush=True)

def fork(function):
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return child

complete = lambda: {path.name for path in directory.glob("*") if path.name.isdigit()}
delays = random.Random(0)
for _ in range(kills):
    before, child = complete(), fork(save_for_ever)
    while complete() <= before:  # until it has saved something
        time.sleep(0.01)
    time.sleep(delays.uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if os.waitpid(fork(check), 0)[1]:
        sys.exit("inconsistent")
"""


def test_killed_five_times_while_saving_the_latest_checkpoint_is_always_consistent(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    done = run_python(SAVE_UNTIL_KILLED, str(tmp_path / "c"), "5")
    steps = [int(line) for line in done.stdout.split()]
    assert len(steps) == 5
    assert steps == sorted(set(steps))  # each process went on from where the killed one was


KILLED_HALF_WAY = """
import os, signal, sys, time
from pathlib import Path
import jax.numpy as jnp, numpy as np
from can.runs.checkpoint import Checkpoints

directory = Path(sys.argv[1])
checkpoints = Checkpoints(directory)
checkpoints.save(1, {"x": jnp.int32(1)}, wait=True)
checkpoints.save(2, {"x": jnp.asarray(np.random.default_rng(0).standard_normal(2**24))})
while not list(directory.glob("2.*tmp*")):
    time.sleep(0.001)
print(os.listdir(directory), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_half_a_checkpoint_is_ignored_and_the_next_save_clears_it_away(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    directory = tmp_path / "c"
    run_python(KILLED_HALF_WAY, str(directory), check=False)
    partial = [path for path in directory.iterdir() if path.name != "1"]
    assert partial
    checkpoints = Checkpoints(directory)
    assert int(checkpoints.restore({"x": jnp.int32(0)})[0]["x"]) == 1
    assert all(path.exists() for path in partial)  # reading changes nothing: another process may be writing it
    checkpoints.save(2, {"x": jnp.int32(2)})
    checkpoints.close()
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2"]
