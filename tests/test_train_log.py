"""The training log survives kills, resumes without a seam, and tells TensorBoard and the terminal the same numbers."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import resource
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from analysis.lib.results import read_curve
from can.errors import ConfigError, DataError, UserError
from can.runs import log as train_log
from can.runs.log import TrainLog
from can.runs.progress_line import ProgressLine
from can.runs.writers import Writer, check_places, open_writers


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def metrics(step: int) -> dict[str, float]:
    return {
        "images_per_second": 812.345,
        "lr": step / 3,
        "loss": float(np.float32(1) / np.float32(step)),
        "infonce": 2.0,
    }


def tensorboard(folder: Path) -> Callable[[int], list[Writer]]:
    return partial(open_writers, ["tensorboard"], folder, "run", {})


def log_steps(path: Path, start: int, stop: int, *, total: int = 20, tensorboard_dir: Path | None = None) -> None:
    with TrainLog(path, tensorboard_dir and tensorboard(tensorboard_dir), total, start) as log:
        for step in range(start + 1, stop + 1):
            log.write(step, metrics(step))


def events(folder: Path) -> list[Event]:
    """Event files record by record: length, its checksum, data, its checksum."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_columns_are_step_losses_lr_speed_and_values_are_float32_exact(tmp_path: Path) -> None:
    log_steps(tmp_path / "train.csv", 0, 7)
    table = pd.read_csv(tmp_path / "train.csv")
    assert list(table.columns) == ["step", "loss", "infonce", "lr", "images_per_second"]
    assert list(table["step"]) == [1, 2, 3, 4, 5, 6, 7]
    expected = np.float32(1) / np.arange(1, 8, dtype=np.float32)
    np.testing.assert_array_equal(table["loss"].to_numpy(np.float32), expected)
    assert (table["images_per_second"] == 812.3).all()


@pytest.mark.parametrize("resume_step", [10, 13])
def test_a_run_killed_and_resumed_has_the_same_log_to_the_byte(tmp_path: Path, resume_step: int) -> None:
    log_steps(tmp_path / "whole.csv", 0, 20)
    path = tmp_path / "train.csv"
    log_steps(path, 0, 13)  # its last checkpoint was at resume_step
    with path.open("a") as file:
        file.write("14,0.07142")  # a row torn by the kill
    log_steps(path, resume_step, 20)
    assert path.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_torn_number_of_a_step_that_counts_is_dropped_and_not_read_as_a_smaller_one(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n1,0.5\n2,0.12")  # was going to be 2,0.125
    TrainLog(path, None, 20, 2).close()
    assert path.read_text() == "step,loss\n1,0.5\n"


def test_starting_anew_forgets_an_earlier_log(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("step,other\n1,2\n")
    log_steps(path, 0, 2)
    assert list(pd.read_csv(path)["step"]) == [1, 2]


def test_other_columns_and_damage_in_an_earlier_log_are_user_errors(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n1,2\n")
    with TrainLog(path, None, 20, 1) as log, pytest.raises(ConfigError, match="step, loss, but"):
        log.write(2, {"loss": 1.0, "denoise": 2.0})
    path.write_bytes(b"step,loss\n\0\0\0,2\n")
    with pytest.raises(DataError, match="is damaged"):
        TrainLog(path, None, 20, 1)


KILLED = """
import os, signal, sys
from pathlib import Path
from can.runs.event_file import EventFile
from can.runs.log import TrainLog
folder = Path(sys.argv[1])
log = TrainLog(folder / "train.csv", lambda step: [EventFile(folder, step)], 10, 0)
for step in range(1, 6):
    log.write(step, {"loss": 1 / step, "lr": 0.1})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_no_row_and_no_event(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    assert run_python(KILLED, str(tmp_path), check=False).returncode == -9
    assert list(pd.read_csv(tmp_path / "train.csv")["step"]) == [1, 2, 3, 4, 5]
    assert [event.step for event in events(tmp_path) if event.HasField("summary")] == [1, 2, 3, 4, 5]


def test_tensorboard_gets_the_scalars_and_is_told_what_a_resumed_run_makes_again(tmp_path: Path) -> None:
    log_steps(tmp_path / "train.csv", 0, 3, tensorboard_dir=tmp_path)
    log_steps(tmp_path / "train.csv", 2, 4, tensorboard_dir=tmp_path)
    found = events(tmp_path)
    scalars = [(e.step, {v.tag: v.simple_value for v in e.summary.value}) for e in found if e.HasField("summary")]
    assert [step for step, _ in scalars] == [1, 2, 3, 3, 4]
    assert scalars[1][1] == {k: np.float32(v) for k, v in metrics(2).items()}
    restarts = [e.step for e in found if e.session_log.status == SessionLog.START]
    assert restarts == [1, 3]  # from step 3 on, the first process's events no longer count


def test_publishing_copies_the_log_into_the_results(tmp_path: Path) -> None:
    with TrainLog(tmp_path / "work" / "train.csv", None, 1, 0) as log:
        log.write(1, metrics(1))
        log.publish(tmp_path / "results")
    assert (tmp_path / "results" / "train.csv").read_text() == (tmp_path / "work" / "train.csv").read_text()
    assert os.listdir(tmp_path / "results") == ["train.csv"]


@pytest.mark.parametrize("events", [False, True])
def test_a_full_disk_is_a_user_error_and_keeps_the_rows_before(tmp_path: Path, events: bool) -> None:
    path = tmp_path / "train.csv"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(UserError, match="the disk is full"),
        TrainLog(path, tensorboard(tmp_path) if events else None, 1000, 0) as log,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        try:
            for step in range(1, 1000):
                log.write(step, metrics(step))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
    text = path.read_text()
    complete = text[: text.rindex("\n") + 1]
    log_steps(tmp_path / "whole.csv", 0, complete.count("\n") - 1, total=1000)
    assert complete == (tmp_path / "whole.csv").read_text()
    assert len(text) <= 1000


def test_what_is_seen_now_and_then_stands_in_columns_of_its_own_and_survives_a_kill(tmp_path: Path) -> None:
    """The other columns are, to the byte, those of a log without it; a run goes on with it and without it."""

    def log(path: Path, start: int, stop: int, every: int) -> None:
        with TrainLog(path, None, 8, start) as opened:
            for step in range(start + 1, stop + 1):
                seen = {"knn_top1": step / 8, "effective_rank": 3.0} if every and step % every == 0 else {}
                opened.write(step, metrics(step) | seen)
            assert opened.written_through() == path.read_bytes()

    log(tmp_path / "plain.csv", 0, 8, 0)
    log(tmp_path / "seen.csv", 0, 8, 3)
    log(tmp_path / "killed.csv", 0, 7, 3)
    log(tmp_path / "killed.csv", 4, 8, 3)
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "seen.csv").read_bytes()
    plain, seen = (read_curve(tmp_path / f"{name}.csv") for name in ("plain", "seen"))
    pd.testing.assert_frame_equal(seen[list(plain.columns)], plain)
    assert list(seen.columns[-2:]) == ["knn_top1", "effective_rank"]
    assert seen["knn_top1"].dropna().tolist() == [3 / 8, 6 / 8]
    log(tmp_path / "plain.csv", 4, 8, 3)
    log(tmp_path / "plain.csv", 7, 8, 0)
    assert read_curve(tmp_path / "plain.csv")["knn_top1"].dropna().tolist() == [6 / 8]


def test_rows_go_to_every_place_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B is told which run it is, and that a second start is the same one."""
    begun, logged = [], []

    class Run:
        def log(self, row: dict[str, float], step: int) -> None:
            logged.append((step, row["loss"]))

        def finish(self) -> None:
            logged.append("finished")

    def init(**how: Any) -> Run:
        begun.append(how)
        return Run()

    wandb = SimpleNamespace(init=init, Settings=dict, errors=SimpleNamespace(Error=OSError))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for start in (0, 2):
        writers = partial(open_writers, ["tensorboard", "wandb"], tmp_path, "own", {"seed": 1})
        with TrainLog(tmp_path / "train.csv", writers, 4, start) as log:
            for step in (start + 1, start + 2):
                log.write(step, metrics(step))
    assert logged == [(1, 1.0), (2, 0.5), "finished", (3, metrics(3)["loss"]), (4, 0.25), "finished"]
    assert len({how["id"] for how in begun}) == 1
    assert {(how["name"], how["resume"], how["config"]["seed"]) for how in begun} == {("own", "allow", 1)}
    assert [event.step for event in events(tmp_path) if event.HasField("summary")] == [1, 2, 3, 4]


def test_a_place_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown place for scalars 'wandbb'; did you mean 'wandb'"):
        check_places(["wandbb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package wandb: pip install -e '\.\[wandb\]'"):
        check_places(["tensorboard", "wandb"])
    check_places([])


def test_a_terminal_shows_a_bar_with_losses_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = ProgressLine(20, 10)
    for step in range(11, 21):
        progress.show(step, *train_log._progress_text(metrics(step)))
    progress.close()
    shown = stream.getvalue()
    assert "10/20" in shown
    assert "20/20" in shown
    assert "loss 0.05 infonce 2 812 images/s" in shown
    assert "lr" not in shown


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    progress = ProgressLine(100, 0)
    for step in range(1, 101):
        progress.show(step, *train_log._progress_text(metrics(step)))
        now[0] += 1.0
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "step 1/100",
        "step 31/100",
        "step 61/100",
        "step 91/100",
        "step 100/100",
    ]
    assert lines[1] == "step 31/100, loss 0.03226 infonce 2, 812 images/s, 01:09 left"
    assert "left" not in lines[0] + lines[-1]


def test_what_is_done_soon_shows_no_line_and_what_takes_long_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    for seconds in (0.1, 10.0):
        with ProgressLine(10, what="linear probe", unit="image", patient=True) as line:
            for done in range(1, 11):
                now[0] += seconds
                line.show(done)
    assert [text.split(",")[0] for text in stream.getvalue().splitlines()] == [
        "linear probe: image 3/10",
        "linear probe: image 6/10",
        "linear probe: image 9/10",
        "linear probe: image 10/10",
    ]


def test_what_happens_to_the_file_while_it_is_written_changes_no_row_that_is_kept_or_published(tmp_path: Path) -> None:
    path = tmp_path / "work" / "train.csv"
    log_steps(tmp_path / "whole.csv", 0, 3, total=3)
    whole = (tmp_path / "whole.csv").read_bytes()
    for harm in (Path.unlink, lambda path: path.write_text(""), lambda path: path.write_text("step,loss\n1,7\n")):
        with TrainLog(path, None, 3, 0) as log:
            for step in (1, 2, 3):
                log.write(step, metrics(step))
            harm(path)
            assert log.written_through() == whole
            log.publish(tmp_path / "results")
        assert (tmp_path / "results" / "train.csv").read_bytes() == whole


def test_a_log_without_its_end_is_not_published(tmp_path: Path) -> None:
    with TrainLog(tmp_path / "train.csv", None, 20, 0) as log:
        log.write(10, metrics(10))
        with pytest.raises(DataError, match="ends at step 10 of 20: restore it, or start the run anew"):
            log.publish(tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("steps", "hole"),
    [
        ([2, 4, 6, 8], None),
        ([2, 4, 6], None),  # stopped between two rows
        ([5, 10, 12], None),  # with other intervals in an earlier process
        ([], "no rows from step 1 to 8"),
        ([2], "no rows from step 3 to 8"),
        ([6, 8], "no rows from step 1 to 6"),
        ([2, 4, 8], "no rows from step 5 to 8"),
    ],
)
def test_a_log_that_no_checkpoint_vouches_for_is_used_only_without_holes(
    tmp_path: Path, steps: list[int], hole: str | None
) -> None:
    path = tmp_path / "train.csv"
    if steps:
        path.write_text("step,loss\n" + "".join(f"{step},1\n" for step in steps))
    reached = 13 if steps == [5, 10, 12] else 8 if hole else steps[-1] + 1
    with pytest.raises(DataError, match=hole) if hole else contextlib.nullcontext():
        train_log.check_whole(path, reached, log_every=2)
