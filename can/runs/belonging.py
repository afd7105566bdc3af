"""Whose a checkpoint is, and the small files that go with it: in a folder of it, which its checksums cover.

Weights do not tell whose they are: a checkpoint of another step, seed or configuration has the same shapes, and
training would go on from it in silence. So each says it of itself. A training's log and the like lie beside its
checkpoints, where they can be lost or changed alone; each checkpoint has them as they were when it was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from can.errors import DataError
from can.runs.name import flatten
from can.system.files import json_of, read_json, write_atomic
from can.system.places import Place

FOLDER, OWNER, FILES = "run", "run.json", "files"
MAY_DIFFER = (
    "config.optim.max_steps",  # says where a trial stops; the state before it is that of the whole run
    "run",  # a name is no more than that: who renames the folders of a run goes on with it
)

Owner = Mapping[str, Any]  # plain JSON values, by name


def files_in(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The content of those of these files that are there."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def write(checkpoint: Place, owner: Owner, step: int, files: Mapping[str, bytes]) -> None:
    """Writes whose a checkpoint is and the files that go with it. Raises OSError if the disk is full."""
    folder = checkpoint / FOLDER
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    (folder / OWNER).write_text(json_of({"step": step, **owner}))
    for name, content in files.items():
        (folder / FILES / name).write_bytes(content)


def of_another(checkpoint: Place, owner: Owner | None, step: int) -> str | None:
    """How a checkpoint says that it is not that of `owner` at `step`, in words; None if it is.

    `owner`: None compares the step alone. A field that it lacks came later, and one of earlier versions lacks all: it
    is taken as it is. Raises DataError if what it says cannot be read.
    """
    path = checkpoint / FOLDER / OWNER
    if not path.exists():
        return None
    there = read_json(path)
    if not isinstance(there, dict):
        raise DataError(f"{path} is no object")
    asked = flatten(json.loads(json.dumps({"step": step, **(owner or {})})))
    said = flatten(there if owner is not None else {"step": there.get("step")})
    different = [(name, value) for name, value in said.items() if value != asked.get(name) and name not in MAY_DIFFER]
    if not different:
        return None
    name, value = different[0]
    more = f" ({len(different) - 1} more differ)" if len(different) > 1 else ""
    return f"{name} is {value} there and {asked.get(name, 'missing')} here{more}"


def bring_back(checkpoint: Place, to: Path, names: Iterable[str]) -> bool:
    """Writes those of these files that go with a checkpoint into a folder; whether any does."""
    paths = [path for name in names if (path := checkpoint / FOLDER / FILES / name).is_file()]
    for path in paths:
        write_atomic(to / path.name, path.read_bytes())
    return bool(paths)
