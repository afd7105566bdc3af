"""What was measured since the last row of the log, over a stop between two rows, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from can.config import OptimConfig
from can.errors import DataError, UserError
from can.system.files import read_json, write_json

Metrics = dict[str, float]


class NotFinite(UserError):
    """Something of a training is no longer finite.

    Attributes:
      step: the first such step, counted from 1.
    """

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self.step = step


class Interval:
    """The metrics of the steps since the last row of the log.

    Args:
      path: where `save` keeps them.
      start_step: of the training; what was saved at this step is read.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        self._path, self.rows = path, _saved(path, start_step)

    def add(self, rows: Sequence[Metrics]) -> None:
        """The metrics of further steps."""
        self.rows += rows

    def take_mean(self) -> Metrics:
        """The mean of each metric over the interval; the next one is empty."""
        mean = mean_metrics(self.rows)
        self.rows = []
        return mean

    def save(self, step: int) -> None:
        """Keeps the metrics up to `step` for a training that goes on there."""
        write_json(self._path, {"step": step, "rows": self.rows})


def mean_metrics(rows: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over steps."""
    return {name: float(np.mean([row[name] for row in rows], dtype=np.float64)) for name in rows[0]}


def check_finite(
    rows: Sequence[Metrics],
    param_norm: float,
    done: int,
    optim: OptimConfig,
    saved_step: Callable[[], int | None],
) -> None:
    """Raises NotFinite if something of the steps up to `done`, or after them, is not finite.

    `saved_step`: that of the latest checkpoint, if there is one; asked for only then, as it may lie in a bucket.
    """
    watched = [
        (title, row[name], step)
        for step, row in enumerate(rows, start=done - len(rows) + 1)
        for name, title in (("loss", "loss"), ("grad_norm", "norm of the gradients"))
    ]
    for title, value, step in (*watched, ("norm of the parameters", param_norm, done)):
        if not math.isfinite(value):
            saved = saved_step()
            kept = "no checkpoint was made yet" if saved is None else f"the checkpoint of step {saved} is kept"
            raise NotFinite(
                f"the {title} became {value} at step {step} of {optim.last_step} (base_lr {optim.base_lr:g}); {kept}: "
                "train from the start with a lower --base_lr or with --clip_norm=1, which is another run "
                "(if you gave a --name: under another one, or with --force=train); --replay makes that step again",
                step,
            )


def _saved(path: Path, step: int) -> list[Metrics]:
    if step == 0 or not path.exists():
        return []
    saved = read_json(path)
    try:
        rows = [{str(name): float(value) for name, value in row.items()} for row in saved["rows"]]
        return rows if saved["step"] == step else []
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({error!r}): start the run anew with --force=train") from error
