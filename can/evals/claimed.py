"""What a folder of an evaluation's training is about: written down when it begins, compared when it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import logging

from can.errors import ConfigError, DataError
from can.runs.checkpoint import Checkpoints
from can.system.files import read_json, write_json

STATE = "state"  # the folder of the checkpoints, beside the file


def claim(path: Path, asked: dict[str, Any], what: str, *, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Writes down what the checkpoints beside `path` are about, and returns it: `Checkpoints` takes it as their owner.

    Args:
      path: of the file, in the folder of the training.
      asked: all that decides the numbers, as plain JSON values.
      what: the training, in the messages: "finetuning".
      defaults: values of fields that came after some file may have been written.

    Raises ConfigError if the folder is about something else already.
    """
    if not path.exists():
        write_json(path, asked)
        return asked
    try:
        there = read_json(path)
        if not isinstance(there, dict):
            raise DataError(f"{path} is no object")
    except DataError:  # it says what the checkpoints beside it are of: they are nobody's now
        logging.warning("%s is damaged: this %s starts anew", path, what)
        Checkpoints(path.parent / STATE).clear()
        write_json(path, asked)
        return asked
    there = {**defaults, **there}
    different = [
        f"{name}: {there.get(name)} there, {asked[name]} now" for name in asked if there.get(name) != asked[name]
    ]
    if different:
        raise ConfigError(
            f"{path.parent} holds a {what} with other settings ({'; '.join(different)}): "
            "pass --force with the name of this evaluation, or delete that folder"
        )
    return asked
