"""The log of a training run: `train.csv`, TensorBoard's event files beside it, and progress on the terminal."""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from can.errors import ConfigError, DataError
from can.system import hosts
from can.system.files import write_atomic, write_error

NORMS = ("grad_norm", "param_norm", "update_norm")
LAST_COLUMNS = (*NORMS, "lr", "images_per_second")  # of train.csv; the losses stand before them
QUIET_INTERVAL_S = 30.0  # between two lines of progress where stderr is not a terminal


class TrainLog:
    """Appends one row a call to `path`, one event a call to `tensorboard_dir`, and shows progress on stderr.

    Rows reach the operating system at once, so that a killed process loses none. `resume_step` is the step of the
    checkpoint that training goes on from, 0 if it starts anew: later rows, which training is about to make again, are
    dropped, as is a last row torn by a kill. So write a step's row before saving its checkpoint, and keep
    `written_through` in it: what happens to the file meanwhile changes no row that is published. Of several processes
    that train together, the first has the log, and for the others nothing happens.

    Raises UserError if the disk is full, ConfigError if an earlier row has other columns, DataError if the earlier log
    is damaged.
    """

    def __init__(
        self,
        path: Path,
        tensorboard_dir: Path | None,
        total_steps: int,
        resume_step: int,
    ) -> None:
        self.path = path
        self._file = None
        self._content = b""  # what the file should hold
        self._total_steps, self._last_step = total_steps, 0
        if not hosts.is_first():
            return
        kept = _rows_until(path, resume_step)
        self._content = _to_csv(kept).encode()
        write_atomic(path, self._content)
        self._columns, self._last_step = (kept[0], int(kept[-1][0])) if kept else ([], 0)
        self._file = path.open("ab", buffering=0)  # a buffer would raise once more when closed on a full disk
        self._events = None
        if tensorboard_dir is not None:
            from can.runs.event_file import EventFile  # here: tensorboardX imports torch where there is one, 1.5 s

            self._events = EventFile(tensorboard_dir, resume_step)
        self._progress = _Progress(total_steps, resume_step)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Logs the metrics of `step` (the number of steps done, counted from 1).

        The first row of a run fixes the columns: step, each loss, the norms, `lr`, `images_per_second`.
        """
        if self._file is None:
            return
        row = {name: float(value) for name, value in metrics.items()}
        if not self._columns:
            self._columns = _columns(row)
            self._append(self._columns)
        if set(row) != set(self._columns[1:]):
            old, new = ", ".join(self._columns), ", ".join(_columns(row))
            raise ConfigError(
                f"{self.path} has the columns {old}, but {new} are to be logged: "
                "another version of the code began it; start the run anew with --force=train"
            )
        self._append([str(step), *(_number(name, row[name]) for name in self._columns[1:])])
        self._last_step = step
        if self._events is not None:
            self._events.write(step, row)
        self._progress.show(step, row)

    def written_through(self) -> bytes:
        """The whole log, when the disk has it: what goes into a checkpoint."""
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise write_error(self.path, error) from error
        return self._content

    def publish(self, to: Path) -> None:
        """Writes `train.csv` into the folder `to`, whole or not at all. Raises DataError if its end is missing."""
        if self._file is None:
            return
        if self._last_step != self._total_steps:
            raise DataError(
                f"{self.path} ends at step {self._last_step} of {self._total_steps}: restore it, or start the run anew "
                "with --force=train"
            )
        write_atomic(to / self.path.name, self._content)

    def close(self) -> None:
        """Ends the log; a second call does nothing."""
        if self._file is None or self._file.closed:
            return
        self._file.close()
        if self._events is not None:
            self._events.close()
        self._progress.close()

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, cells: list[str]) -> None:
        assert self._file is not None
        try:
            data = row = _to_csv([cells]).encode()
            while data:
                data = data[self._file.write(data) :]
            self._content += row
        except OSError as error:
            raise write_error(self.path, error) from error


class _Progress:
    """A bar with losses, images/s and time left; a line now and then where the output is not a terminal."""

    def __init__(self, total_steps: int, resume_step: int) -> None:
        self._total = total_steps
        self._bar = (
            tqdm(total=total_steps, initial=resume_step, unit=" steps", dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )
        self._first: tuple[int, float] | None = None  # step and time of the first row, which compilation delayed
        self._last_line = float("-inf")

    def show(self, step: int, row: dict[str, float]) -> None:
        speed = f"{row['images_per_second']:.0f} images/s" if "images_per_second" in row else ""
        losses = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in LAST_COLUMNS)
        if self._bar is not None:
            self._bar.set_postfix_str(" ".join((losses, speed)), refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        if step < self._total and now - self._last_line < QUIET_INTERVAL_S:
            return
        self._last_line = now
        parts = [f"step {step}/{self._total}", losses, speed, self._time_left(step, now)]
        print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _time_left(self, step: int, now: float) -> str:
        assert self._first is not None
        first_step, first_time = self._first
        if step in (first_step, self._total):
            return ""
        seconds = (self._total - step) * (now - first_time) / (step - first_step)
        return f"{tqdm.format_interval(seconds)} left"


def _columns(row: dict[str, float]) -> list[str]:
    return ["step", *(n for n in row if n not in LAST_COLUMNS), *(n for n in LAST_COLUMNS if n in row)]


def _number(name: str, value: float) -> str:
    """Nine digits: what it takes to read a float32 back to the bit."""
    return f"{value:.1f}" if name == "images_per_second" else f"{value:.9g}"


def _to_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def check_whole(path: Path, step: int, log_every: int) -> None:
    """Raises DataError if a log that no checkpoint vouches for lacks rows up to `step`.

    The steps between rows may have been more than `log_every` in an earlier process: as many as they were twice.
    """
    steps = [0, *(int(row[0]) for row in _rows_until(path, step)[1:]), step]
    gaps = Counter(after - before for before, after in itertools.pairwise(steps))
    usual = max([log_every, *(gap for gap, count in gaps.items() if count > 1)])
    for before, after in itertools.pairwise(steps):
        if after - before > usual:
            raise DataError(
                f"{path} has no rows from step {before + 1} to {after}: restore it, or start the run anew with "
                "--force=train"
            )


def _rows_until(path: Path, step: int) -> list[list[str]]:
    """The header and the complete rows up to `step` of an earlier log; nothing if it has no such rows."""
    if step == 0 or not path.exists():
        return []
    try:
        lines = path.read_text().splitlines(keepends=True)
        header, *rows = list(csv.reader(line for line in lines if line.endswith("\n"))) or [[]]
        kept = [row for row in rows if int(row[0]) <= step]
    except (ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}): start the run anew with --force=train") from error
    return [header, *kept] if kept else []
