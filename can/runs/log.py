"""The log of a training run: `train.csv`, TensorBoard's event files beside it, and progress on the terminal."""

from __future__ import annotations

import csv
import io
import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from can.errors import ConfigError, DataError
from can.runs.beside import COLUMNS
from can.runs.progress_line import ProgressLine
from can.runs.writers import Writer
from can.system import hosts
from can.system.files import write_atomic, write_error

NORMS = ("grad_norm", "param_norm", "update_norm")
LAST_COLUMNS = (*NORMS, "lr", "images_per_second")  # of train.csv; the losses stand before them


class TrainLog:
    """Appends one row a call to `path`, gives it to the writers, and shows progress on stderr.

    Rows reach the operating system at once, so that a killed process loses none. `resume_step` is the step of the
    checkpoint that training goes on from, 0 if it starts anew: later rows, which training is about to make again, are
    dropped, as is a last row torn by a kill. So write a step's row before saving its checkpoint, and keep
    `written_through` in it: what happens to the file meanwhile changes no row that is published. Of several processes
    that train together, the first has the log, and for the others nothing happens. `open_writers` is given that step.

    Raises UserError if the disk is full, ConfigError if an earlier row has other columns, DataError if the earlier log
    is damaged.
    """

    def __init__(
        self,
        path: Path,
        open_writers: Callable[[int], Sequence[Writer]] | None,
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
        self._writers = [] if open_writers is None else open_writers(resume_step)
        self._progress = ProgressLine(total_steps, resume_step)
        self._seen: dict[str, float] = {}  # the last values of `COLUMNS`, for the progress line

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Logs the metrics of `step` (the number of steps done, counted from 1).

        The first row of a run fixes the columns: step, each loss, the norms, `lr`, `images_per_second`. What is seen
        beside training now and then, `can.runs.beside.COLUMNS`, stands behind them, and rows may lack it.
        """
        if self._file is None:
            return
        row = {name: float(value) for name, value in metrics.items()}
        if not self._columns:
            self._columns = _columns(row)
            self._append(self._columns)
        if new := [name for name in COLUMNS if name in row and name not in self._columns]:
            self._widen(new)
        if set(row) - set(COLUMNS) != set(self._columns[1:]) - set(COLUMNS):
            old, now = ", ".join(self._columns), ", ".join(_columns(row))
            raise ConfigError(
                f"{self.path} has the columns {old}, but {now} are to be logged: "
                "another version of the code began it; start the run anew with --force=train"
            )
        self._append([str(step), *(_number(name, row[name]) if name in row else "" for name in self._columns[1:])])
        self._last_step = step
        for writer in self._writers:
            writer.write(step, row)
        self._seen |= {name: row[name] for name in COLUMNS if name in row}
        self._progress.show(step, *_progress_text(row | self._seen))

    def show(self, step: int, metrics: dict[str, float]) -> None:
        """Shows progress between rows."""
        if self._file is not None:
            self._progress.show(step, *_progress_text(metrics))

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
        for writer in self._writers:
            writer.close()
        self._progress.close()

    def __enter__(self) -> TrainLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _widen(self, new: list[str]) -> None:
        """Adds columns, which are empty in the rows so far."""
        assert self._file is not None
        header, *rows = csv.reader(io.StringIO(self._content.decode()))
        self._columns = [*header, *new]
        self._content = _to_csv([self._columns, *([*row, *("" for _ in new)] for row in rows)]).encode()
        write_atomic(self.path, self._content)
        self._file.close()
        self._file = self.path.open("ab", buffering=0)

    def _append(self, cells: list[str]) -> None:
        assert self._file is not None
        try:
            data = row = _to_csv([cells]).encode()
            while data:
                data = data[self._file.write(data) :]
            self._content += row
        except OSError as error:
            raise write_error(self.path, error) from error


def _progress_text(row: dict[str, float]) -> tuple[str, str, str]:
    """Losses, what was seen beside training, and speed."""
    losses = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in (*LAST_COLUMNS, *COLUMNS))
    seen = " ".join(f"{name} {row[name]:.4g}" for name in COLUMNS if name in row)
    speed = f"{row['images_per_second']:.0f} images/s" if "images_per_second" in row else ""
    return losses, seen, speed


def _columns(row: dict[str, float]) -> list[str]:
    last = (*LAST_COLUMNS, *COLUMNS)
    return ["step", *(n for n in row if n not in last), *(n for n in last if n in row)]


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
