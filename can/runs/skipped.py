"""Damaged images that a training left out: how many, over all hosts and restarts, and when there are too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from can.errors import DataError, UserError
from can.system.files import read_json, write_json

MOST = 1e-3  # of the images: more are no accident


class Skipped:
    """Counts the images of each batch that stand in for damaged ones.

    Args:
      path: where `save` keeps the count.
      start_step: of the training; what was saved at this step is read.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        self._path, self._start = path, start_step
        self._own: list[int] = []  # of this host, by batch since it started; one is read ahead
        self._before = _saved(path, start_step)  # of all hosts
        self.count = self._before

    def take_from(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch without its marks, which are counted."""
        marks = batch.pop("skipped", None)
        self._own.append(0 if marks is None else int(marks.sum()))
        return batch

    def check(self, done: int, batch_size: int) -> None:
        """Counts those of the first `done` steps over all hosts, which call it at the same step.

        Raises UserError, in all of them, if there are too many.
        """
        own = np.array(sum(self._own[: done - self._start]), np.int32)
        self.count = self._before + int(
            own if jax.process_count() == 1 else multihost_utils.process_allgather(own).sum()
        )
        if self.count > max(1, MOST * done * batch_size):
            raise UserError(
                f"{self.count} of {done * batch_size} images are damaged, more than {MOST:.1%}: see the warnings, "
                "remove or mend them, and start the same command again"
            )

    def save(self, step: int) -> None:
        """Keeps the count up to `step` for a training that goes on there."""
        write_json(self._path, {"step": step, "skipped": self.count})


def _saved(path: Path, step: int) -> int:
    if step == 0 or not path.exists():
        return 0
    saved = read_json(path)
    try:
        return int(saved["skipped"]) if saved["step"] == step else 0
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error!r}): start the run anew with --force=train") from error
