"""Which images a run has been trained on, from which step on: a set may change while a run is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from can.errors import DataError
from can.runs.name import differences
from can.system.files import read_json, write_json

FILE = "images.json"  # in a run's working folder
Fingerprints = dict[str, str]  # by the set's name and split


class ImageHistory:
    """The sets of a run in a file, as `{"from_step": 0, "data": {...}}` each, in order.

    Raises DataError if the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries: list[dict[str, Any]] = _checked(read_json(path), path) if path.exists() else []

    def changed(self, data: Fingerprints) -> str:
        """How the set of now differs from that of the latest steps, a line a field; empty if it does not."""
        return differences(self.entries[-1]["data"], data) if self.entries else ""

    def note(self, data: Fingerprints, step: int) -> None:
        """Keeps that the steps from `step` on see these images."""
        earlier = [entry for entry in self.entries if entry["from_step"] < step]
        if not earlier or earlier[-1]["data"] != data:
            earlier.append({"from_step": step if earlier else 0, "data": data})
        self.entries = earlier
        write_json(self._path, earlier)


def _checked(values: Any, path: Path) -> list[dict[str, Any]]:
    if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()):
        return [{"from_step": 0, "data": values}]  # as earlier versions wrote it
    try:
        return [{"from_step": int(entry["from_step"]), "data": dict(entry["data"])} for entry in values]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error!r}): start the run anew with --force=train") from error
