"""How long a run has been training, over all its restarts."""

from __future__ import annotations

import time
from pathlib import Path

from can.errors import DataError
from can.system.files import read_json, write_json


class Clock:
    """Seconds of training over all restarts of a run, kept beside its checkpoints."""

    def __init__(self, path: Path, start_step: int) -> None:
        self._path = path
        self._begun = time.time()
        saved = read_json(path) if start_step and path.exists() else {"started": self._begun, "seconds": 0.0}
        try:
            self.started, self._before = float(saved["started"]), float(saved["seconds"])
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"{path} is damaged ({error!r}): delete it; the time until now is then not counted"
            ) from error

    def elapsed(self) -> float:
        """Seconds so far."""
        return self._before + time.time() - self._begun

    def save(self) -> None:
        """Keeps the time for a later restart."""
        write_json(self._path, {"started": self.started, "seconds": self.elapsed()})
