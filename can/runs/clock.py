"""How long a run has been training, over all its restarts."""

from __future__ import annotations

import math
import time
from pathlib import Path

from absl import logging

from can.errors import DataError
from can.system.files import read_json, write_json

_LATEST = 253_402_300_799.0  # the end of the year 9999: later than any date that can be written


class Clock:
    """Seconds of training over all restarts of a run, kept beside its checkpoints.

    They are of a clock that nobody sets. A record that is damaged costs the time until now, which a warning says.

    Attributes:
      started: when the run began, in seconds since the epoch.
    """

    def __init__(self, path: Path, start_step: int) -> None:
        self._path = path
        self._begun = time.monotonic()
        self.started, self._before = time.time(), 0.0
        if start_step and path.exists():
            try:
                self.started, self._before = _saved(path)
            except (DataError, TypeError, KeyError, ValueError, OverflowError) as error:
                logging.warning("%s is damaged (%s): the time until now is not counted", path, error)

    def elapsed(self) -> float:
        """Seconds so far."""
        return self._before + time.monotonic() - self._begun

    def save(self) -> None:
        """Keeps the time for a later restart."""
        write_json(self._path, {"started": self.started, "seconds": self.elapsed()})


def _saved(path: Path) -> tuple[float, float]:
    saved = read_json(path)
    started, seconds = float(saved["started"]), float(saved["seconds"])
    if not (0 <= started <= _LATEST and 0 <= seconds < math.inf):
        raise ValueError(f"{seconds:g} seconds since {started:g}")
    return started, seconds
