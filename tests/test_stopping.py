"""Signals save a training and say how to go on; closed output ends nothing; workers end with their parent."""

from __future__ import annotations

import csv
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from test_train import tiny_config

from can import data, train
from can.runs import RunDir
from can.runs.log import TrainLog
from can.system.stopping import Stopped, StopRequests, send_lost_signals_again

REPOSITORY = Path(__file__).resolve().parent.parent


def rows_of(run: RunDir) -> list[dict[str, str]]:
    rows = csv.DictReader((run.results / "train.csv").open())
    return [{name: value for name, value in row.items() if name != "images_per_second"} for row in rows]


@pytest.mark.usefixtures("one_training_step")
def test_a_signal_saves_between_two_rows_and_the_next_start_ends_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At step 5, where neither a row nor a checkpoint is due."""
    config = tiny_config("mae", total_steps=8)
    images = data.load("smoke", "train", data_dir=tmp_path)
    whole, stopped = (RunDir(tmp_path / name, tmp_path / name, "smoke", "run") for name in "ab")
    expected = train.pretrain(config, whole, images, log_every=3, checkpoint_every=6)

    put, steps = train.put_batch, []

    def put_and_signal(*args: Any) -> Any:
        steps.append(None)
        if len(steps) == 6:  # the batch of the sixth step is put before the host waits for the fifth
            os.kill(os.getpid(), signal.SIGTERM)
        return put(*args)

    with monkeypatch.context() as patched, pytest.raises(Stopped, match="run is saved at step 5 of 8") as stop:
        patched.setattr(train, "put_batch", put_and_signal)
        train.pretrain(config, stopped, images, log_every=3, checkpoint_every=6)
    assert stop.value.number == signal.SIGTERM
    assert train.Checkpoints(stopped.checkpoints).latest_step == 5
    assert not stopped.pretrained
    found = train.pretrain(config, stopped, images, log_every=3, checkpoint_every=6)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert rows_of(stopped) == rows_of(whole)
    assert [row["step"] for row in rows_of(whole)] == ["3", "6", "8"]


def test_a_signal_in_the_last_step_ends_the_command_when_the_training_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation that would come next does not begin."""
    run = RunDir(tmp_path / "results", tmp_path / "work", "smoke", "run")
    end = train.Row.end

    def signalled(row: Any, done: int) -> None:
        if not (run.results / "provenance.json").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        end(row, done)

    images = data.load("smoke", "train", data_dir=tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Stopped, match="run is trained to its end") as stop:
        patched.setattr(train.Row, "end", signalled)
        train.pretrain(tiny_config("mae", total_steps=2), run, images, log_every=2)
    assert stop.value.number == signal.SIGTERM
    assert run.pretrained


def test_before_there_is_something_to_save_and_at_the_second_time_a_signal_ends_at_once() -> None:
    with StopRequests() as stops:
        with pytest.raises(Stopped):
            stops._note(signal.SIGTERM, None)
        stops.hold()
        stops._note(signal.SIGTERM, None)
        assert stops.noted(all_look=True) == signal.SIGTERM
        with pytest.raises(Stopped):
            stops._note(signal.SIGTERM, None)


def test_a_signal_comes_again_if_it_came_while_garbage_was_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops errors that the garbage collector's callbacks raise, and JAX has one."""
    came: list[str] = []

    def signalled(phase: str, facts: dict[str, int]) -> None:
        came.append(phase)
        if len(came) == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    send_lost_signals_again()
    with StopRequests(), pytest.raises(Stopped):
        gc.callbacks.append(signalled)
        try:
            gc.collect()
            time.sleep(30)
        finally:
            gc.callbacks.remove(signalled)
    assert came


def test_one_of_several_processes_ends_in_any_case(run_python: Any) -> None:
    """Even where it is held up on its way out."""
    script = """
import io, jax, signal, sys, time
from can.system import stopping
stopping.GRACE_S = 1
sys.stderr = io.StringIO()
jax.distributed.is_initialized = lambda: True
stopping.handle(stopping.raise_stopped)
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    time.sleep(60)
"""
    done = run_python(script, check=False)
    assert done.returncode == 1 and "Timeout (0:00:01)!" in done.stderr and "line 11 in <module>" in done.stderr


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def command(folder: Path, *flags: str) -> list[str]:
    folders = [f"--results_dir={folder}/results", f"--workdir={folder}/work", f"--data_dir={folder}"]
    script = str(REPOSITORY / "experiments" / "pretrain.py")
    return [sys.executable, script, "--scale=smoke", "--method=mae", "--name=run", *folders, *flags]


def test_sigterm_says_how_to_go_on_and_ends_with_143(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path, "--total_steps=100000", "--log_every=5"), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list((tmp_path / "work").glob("smoke/run/train.csv")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    while (tmp_path / "work/smoke/run/train.csv").stat().st_size < 200:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, error
    last = error.splitlines()[-1]
    assert last.startswith("stopped: run is saved at step ") and last.endswith("goes on from the last checkpoint")
    assert "Traceback" not in error
    step = last.split("step ")[1].split()[0]
    assert (tmp_path / "work/smoke/run/state" / step).is_dir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("closed", [">/dev/full 2>/dev/full", "2>&1 | head -c 1 >/dev/null", ">&- 2>&-"])
def test_output_that_closes_ends_no_run(tmp_path: Path, closed: str) -> None:
    words = " ".join(f"'{word}'" for word in command(tmp_path, "--total_steps=4"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} {closed}"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert (tmp_path / "results/smoke/run/provenance.json").is_file()


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, zipfile, io, numpy as np\n"
        "from PIL import Image\n"
        "from can import data\n"
        "if __name__ == '__main__':\n"
        "    with zipfile.ZipFile(sys.argv[1] + '/p.zip', 'w') as archive:\n"
        "        for i in range(8):\n"
        "            file = io.BytesIO()\n"
        "            Image.fromarray(np.full((90, 90, 3), i, np.uint8)).save(file, 'png')\n"
        "            archive.writestr(f'{i}.png', file.getvalue())\n"
        "    images = data.load(f'folder:{sys.argv[1]}/p.zip', 'train', data_dir=sys.argv[1])\n"
        "    source = data.batches(images, batch_size=4, seed=0, image_size=32, workers=2)\n"
        "    next(source)\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdin=pipe, stdout=pipe, text=True, env=environment
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "begun\n"
    parent.kill()
    parent.communicate(timeout=60)  # returns once nobody is left who could write to the pipe


def test_the_log_is_not_torn_by_a_stop(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "train.csv", None, 4, 0)
    with pytest.raises(Stopped), log:
        log.write(1, {"loss": 1.0, "lr": 0.1})
        raise Stopped(signal.SIGTERM)
    assert (tmp_path / "train.csv").read_text() == "step,loss,lr\n1,1,0.1\n"
