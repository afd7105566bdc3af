"""Runs: where a run writes, and what of it is already done.

A run writes to two folders. `results/<scale>/<name>` holds what tables are made of, is small and belongs in git:
`config.json`, `train.csv`, `provenance.json`, `eval-<name>.json`. `checkpoints/<scale>/<name>` holds what only this
machine needs: the checkpoints, the live `train.csv`, TensorBoard's event files. A fresh clone therefore has results
without weights: its tables are reprinted as they are, and only a *new* evaluation has to train again.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from can.config import RunConfig
from can.errors import ConfigError, DataError, UserError
from can.files import read_json, write_json
from can.runs.name import flatten


class EvalRecord(TypedDict):
    """One number of one evaluation."""

    metric: str  # "top1", ...
    value: float
    n: int  # test images
    seed: int
    protocol: Any  # the settings that the number depends on: a text or an object


class RunDir:
    """The two folders of a run, `.results` and `.work`, and what they say is done."""

    def __init__(self, results_dir: Path, checkpoints_dir: Path, scale: str, name: str) -> None:
        if not re.fullmatch(r"\w[\w.=+-]*", name):
            raise ConfigError(
                f"run name {name!r} cannot be a folder's name: use letters and digits, and after the first any of _.-=+"
            )
        self.name = name
        self.results = Path(results_dir) / scale / name
        self.work = Path(checkpoints_dir) / scale / name

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie: the directory for `can.checkpoint.Checkpoints`."""
        return self.work / "state"

    def claim(self, config: RunConfig, force: bool = False) -> None:
        """Reserves both folders for `config`: writes `config.json` into them, or checks the ones that are there.

        Claiming again with the same values is harmless: that is how a run resumes. With `force`, what an earlier run
        of this name wrote is deleted first. Raises ConfigError, showing each field that differs, if the folders belong
        to a run of other values, and UserError if they cannot be written.
        """
        if force:
            self._clear()
        paths = [folder / "config.json" for folder in (self.results, self.work)]
        for path in paths:
            if path.exists():
                _check_same(path, config)
        for path in paths:
            if not path.exists():
                write_json(path, config.to_dict())

    @property
    def pretrained(self) -> bool:
        """Whether pre-training is finished: its log and provenance are published. Says nothing about the weights."""
        return (self.results / "train.csv").exists() and (self.results / "provenance.json").exists()

    @property
    def has_weights(self) -> bool:
        """Whether the checkpoint of the last step is on this machine (checkpoints are not in git)."""
        path = self.work / "config.json"
        if not path.exists():
            return False
        last_step = RunConfig.from_dict(read_json(path)).optim.last_step
        return (self.checkpoints / str(last_step)).is_dir()  # orbax renames a checkpoint to its step once it is whole

    def reason_to_train(self, evals: Iterable[str] = ()) -> str | None:
        """Why pre-training must run before all of `evals` can be had, as a line for the user; None if it need not."""
        missing = [name for name in evals if not self.has_eval(name)]
        if not self.pretrained:
            return f"{self.name} is not pre-trained yet"
        if missing and not self.has_weights:
            return (
                f"the weights of {self.name} are not on this machine (results are kept in git, checkpoints are not): "
                f"it is pre-trained again for {', '.join(missing)}"
            )
        return None

    def has_eval(self, name: str) -> bool:
        """Whether `eval-<name>.json` is there."""
        return self._eval_path(name).exists()

    def write_eval(self, name: str, records: list[EvalRecord]) -> None:
        """Writes `eval-<name>.json`. Raises ValueError on records of another form."""
        _check_records(records)
        write_json(self._eval_path(name), records)

    def read_eval(self, name: str) -> list[EvalRecord]:
        """What `write_eval` wrote. Raises DataError if the file is missing or damaged."""
        path = self._eval_path(name)
        if not path.exists():
            raise DataError(f"{path} does not exist: evaluate {self.name} with {name} first")
        records = read_json(path)
        try:
            _check_records(records)
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}): delete it and evaluate again") from error
        return records

    def _eval_path(self, name: str) -> Path:
        return self.results / f"eval-{name}.json"

    def _clear(self) -> None:
        """Deletes the old run. `config.json` goes last, so that a kill half-way leaves no results without an owner."""
        for folder in (self.work, self.results):
            try:
                for path in sorted(folder.glob("*"), key=lambda path: path.name == "config.json"):
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    else:
                        path.unlink()
            except OSError as error:
                raise UserError(
                    f"cannot delete the old run in {folder} ({error.strerror}): make it writable or pass another --name"
                ) from error


def _check_same(path: Path, config: RunConfig) -> None:
    # Through RunConfig, so that a field which is younger than the file counts as its default.
    old = flatten(RunConfig.from_dict(read_json(path)).to_dict())
    new = flatten(json.loads(json.dumps(config.to_dict())))
    lines = [
        f"  {field}: {old.get(field, 'none')} (on disk) != {new.get(field, 'none')} (asked)"
        for field in new | old
        if old.get(field) != new.get(field)
    ]
    if lines:
        raise ConfigError(
            f"{path.parent} holds a run of this name with another configuration:\n"
            + "\n".join(lines)
            + "\npass another --name or --workdir to keep both, or --force to delete the old run"
        )


def _check_records(records: Any) -> None:
    if not isinstance(records, list) or not records:
        raise ValueError("not a list of records")
    keys = EvalRecord.__annotations__
    for entry in records:
        if not isinstance(entry, dict) or set(entry) != set(keys):
            raise ValueError(f"a record must have exactly the keys {', '.join(keys)}: {entry!r}")
        if not isinstance(entry["metric"], str) or not entry["metric"]:
            raise ValueError(f"metric must be a name, not {entry['metric']!r}")
        if not isinstance(entry["value"], int | float) or not math.isfinite(entry["value"]):
            raise ValueError(f"value must be a finite number, not {entry['value']!r}")
        if not isinstance(entry["n"], int) or entry["n"] < 1:
            raise ValueError(f"n must count test images, not {entry['n']!r}")
        if not isinstance(entry["seed"], int):
            raise ValueError(f"seed must be an integer, not {entry['seed']!r}")
