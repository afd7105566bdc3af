"""The two folders of a run, and what of it is done.

A run writes to two folders. `results/<scale>/<name>` holds what tables are made of and is small: `config.json`,
`train.csv`, `provenance.json`, `eval-<name>.json`. `checkpoints/<scale>/<name>` holds what only this machine needs: the
checkpoints, the live `train.csv`, TensorBoard's event files. The checkpoints of pre-training, which are large, may lie
in a third place, which may be a bucket. Results can therefore be there without weights: they are
read as they are, and only a new evaluation has to train again.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from can.config import RunConfig
from can.errors import ConfigError, DataError, UserError
from can.runs.config_file import read_config
from can.runs.evaluation import Evaluated
from can.runs.name import differences
from can.system import hosts
from can.system.files import json_of, read_json, write_error
from can.system.locks import locked
from can.system.places import Place, place, remove, steps_in, write_text

LOCK = ".lock"
FOREIGN = "foreign"  # the data of a run whose weights come from elsewhere
LONGEST_NAME = 200  # letters; file systems take names of 255 bytes


class RunDir:
    """The two folders of a run, `.results` and `.work`, and what they say is done.

    `states_dir`: where the checkpoints of pre-training lie, a folder or a place in a bucket; None: in `.work`.
    """

    def __init__(
        self, results_dir: Path, checkpoints_dir: Path, scale: str, name: str, states_dir: Place | None = None
    ) -> None:
        if not re.fullmatch(r"\w[\w.=+-]*", name):
            raise ConfigError(
                f"run name {name!r} cannot be a folder's name: use letters and digits, and after the first any of _.-=+"
            )
        if len(name) > LONGEST_NAME:
            raise ConfigError(
                f"the run's name {name[:40]}... has {len(name)} letters: pass a --name of at most {LONGEST_NAME}"
            )
        self.name = name
        self.results = Path(results_dir) / scale / name
        self.work = Path(checkpoints_dir) / scale / name
        self.step: int | None = None  # whose checkpoint is evaluated; None: the last one's
        self._elsewhere: Place | None = None  # what holds the checkpoints, if `.work` does not
        if states_dir is not None and (states := place(states_dir) / scale / name) != self.work.resolve():
            self._elsewhere = states

    @property
    def checkpoints(self) -> Place:
        """Where the run's checkpoints lie: the directory for `can.runs.checkpoint.Checkpoints`."""
        return (self._elsewhere or self.work) / "state"

    def at(self, step: int) -> RunDir:
        """The run as it was at a step whose checkpoint is kept: what is made of it lies in folders of that step.

        Raises ConfigError, with the steps that are there, if it is not.
        """
        if step not in (steps := steps_in(self.checkpoints)):
            there = f"it has: {', '.join(map(str, steps))}" if steps else "it has none"
            raise ConfigError(
                f"{self.name} has no checkpoint of step {step} in {self.checkpoints} ({there}): train with "
                "--keep_every=STEPS to keep some for good"
            )
        kept = copy.copy(self)
        kept.step, kept._elsewhere = step, self._elsewhere or self.work
        kept.results, kept.work = (folder / f"step-{step}" for folder in (self.results, self.work))
        return kept

    def owner(self, config: RunConfig) -> dict[str, Any]:
        """What the run's checkpoints say of themselves, and are compared with."""
        said = {"run": self.name, "seed": config.seed, "config": config.to_dict()}
        # Of weights from elsewhere, the configuration does not say whose they are: the name stands for them.
        return said | ({"weights_of": self.name} if config.data.name == FOREIGN else {})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds both folders, so that one process works on the run at a time.

        A second one waits and says so in one line. The lock of a process that died is free at once: it belongs to the
        process's open file. Of several that work together, the first holds it. Raises UserError if a folder cannot be
        written.
        """
        if not hosts.is_first():
            yield
            return
        with contextlib.ExitStack() as held:
            for folder in (self.work, self.results):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    held.enter_context(locked(folder / LOCK, f"works on {self.name}"))
                except OSError as error:
                    raise write_error(folder / LOCK, error) from error
            yield

    def claim(self, config: RunConfig) -> None:
        """Reserves the run's places for `config`: writes `config.json` into them, or checks the ones that are there.

        Claiming again with the same values is harmless: that is how a run resumes. Raises ConfigError, showing each
        field that differs, if they belong to a run of other values, and UserError if they cannot be written.
        """
        paths: list[Place] = [folder / "config.json" for folder in (self.results, self.work)]
        if self._elsewhere is not None:
            paths.append(self._elsewhere / "config.json")
        for path in paths:
            if path.exists() and (lines := differences(read_config(path).to_dict(), _plain(config))):
                raise ConfigError(
                    f"{path.parent} holds a run of this name with another configuration:\n{lines}\n"
                    "pass another --name or --results_dir and --workdir to keep both, or --force=train,evals"
                )
        for path in paths:
            if not path.exists():
                write_text(path, json_of(config.to_dict()))

    @property
    def config(self) -> RunConfig:
        """The configuration that the results are of. Raises DataError if it is damaged or missing."""
        path = self.results / "config.json"
        if not path.exists():
            raise DataError(f"{path} is missing: nobody can say what this run is: restore it, or delete {self.results}")
        return read_config(path)

    @property
    def pretrained(self) -> bool:
        """Whether pre-training is finished: its log and provenance are published. Says nothing about the weights."""
        return all((self.results / name).is_file() for name in ("train.csv", "provenance.json"))

    @property
    def has_weights(self) -> bool:
        """Whether the checkpoint of the last step is there."""
        path = self.work / "config.json"
        if not path.exists():
            return False
        return read_config(path).optim.last_step in steps_in(self.checkpoints)

    @property
    def weights(self) -> str:
        """The fingerprint of the encoder that pre-training ended with, as its provenance has it.

        Raises DataError if it does not say.
        """
        weights = self.provenance["weights"]
        if weights is None:
            path = self.results / "provenance.json"
            raise DataError(f"{path} is damaged (it names no weights): restore it, or train with --force=train")
        return weights

    @property
    def provenance(self) -> dict[str, Any]:
        """What `provenance.json` says. Raises DataError if it is damaged, or has not what others ask of it."""
        path = self.results / "provenance.json"
        values = read_json(path)
        kinds = {"weights": str | None, "data": dict, "shares": dict, "git": dict}
        for name, kind in kinds.items():
            if not isinstance(values, dict) or not isinstance(values.get(name, kind() if kind is dict else None), kind):
                raise DataError(f"{path} is damaged ({name} is no {kind}): restore it, or train with --force=train")
        return {"data": {}, "weights": None} | values

    def reason_to_train(self, missing_evals: Iterable[str] = ()) -> str | None:
        """Why pre-training must run before `missing_evals` can be made, as a line for the user; None if it need not."""
        missing = list(missing_evals)
        if not self.pretrained:
            return f"{self.name} is not pre-trained yet"
        if missing and not self.has_weights:
            return (
                f"the weights of {self.name} are not on this machine: it is pre-trained again for {', '.join(missing)}"
            )
        return None

    def has_eval(self, name: str) -> bool:
        """Whether `eval-<name>.json` is there."""
        return self.eval_path(name).exists()

    def read_eval(self, name: str) -> Evaluated:
        """The evaluation `name`. Raises DataError if the file is missing or damaged."""
        path = self.eval_path(name)
        if not path.exists():
            raise DataError(f"{path} does not exist: evaluate {self.name} with {name} first")
        return Evaluated.read(path)

    def eval_path(self, name: str) -> Path:
        """The file of the evaluation `name`."""
        return self.results / f"eval-{name}.json"

    def forget_training(self) -> None:
        """Deletes what pre-training wrote. Evaluations stay, and say of which weights they are.

        `config.json` goes last, so that a kill half-way leaves no results without an owner.
        """
        if self._elsewhere is not None:
            remove(self._elsewhere)
        self._delete([*self.work.glob("*"), *(self.results / name for name in ("train.csv", "provenance.json"))])
        self._delete([self.results / "config.json"])

    def forget_eval(self, name: str) -> None:
        """Deletes the evaluation `name`, and the training that it did, if any."""
        self._delete([self.eval_path(name), self.results / f"{name}.csv", self.work / name])

    def _delete(self, paths: Iterable[Path]) -> None:
        for path in sorted(paths, key=lambda path: path.name == "config.json"):
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise UserError(f"cannot delete {path} ({error.strerror}): make its folder writable") from error


def _plain(config: RunConfig) -> dict[str, object]:
    """The configuration as it is read back from JSON."""
    return json.loads(json.dumps(config.to_dict()))
