"""What a training notes of the step at which its numbers were no longer finite."""

from __future__ import annotations

from pathlib import Path

from can.errors import DataError, UserError
from can.system.files import read_json, write_json


class Failure:
    """The note in a run's working folder: the step, the seed and the images of its batch."""

    def __init__(self, work: Path) -> None:
        self.path = work / "failure.json"

    def note(self, step: int, seed: int, images: list[int]) -> None:
        """Writes down a step, counted from 1, and which images of the set its batch had."""
        write_json(self.path, {"step": step, "seed": seed, "images": images})

    @property
    def step(self) -> int:
        """The step that failed, counted from 1. Raises UserError if none is noted, DataError if the note is damaged."""
        if not self.path.exists():
            raise UserError(f"{self.path} is not there: this run noted no step that failed, there is nothing to replay")
        try:
            return int(read_json(self.path)["step"])
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"{self.path} is damaged ({error!r}): train on until it fails again") from error
