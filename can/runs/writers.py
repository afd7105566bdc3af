"""Where the scalars of a training go beside `train.csv`: TensorBoard's event files, Weights & Biases, or nowhere."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from can.errors import UserError, check_choice, first_line
from can.system.files import write_atomic

PLACES = ("tensorboard", "wandb")
_PROJECT = "can"
_ID = "wandb_id"  # the file that says as which run of W&B a training goes on


@runtime_checkable
class Writer(Protocol):
    """A place for scalars. Raises UserError where it cannot write."""

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the scalars of a step."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


def check_places(names: Sequence[str]) -> None:
    """Raises UserError for a place that does not exist, or needs a package that is not installed."""
    for name in names:
        check_choice("place for scalars", name, PLACES)
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise UserError("--write_to=wandb needs the package wandb: pip install -e '.[wandb]'")


def open_writers(
    names: Sequence[str], folder: Path, run: str, config: dict[str, Any], resume_step: int
) -> list[Writer]:
    """The places `names`, for a training that goes on after `resume_step`; their files go to `folder`."""
    found: list[Writer] = []
    for name in names:
        if name == "tensorboard":
            from can.runs.event_file import EventFile  # here: tensorboardX imports torch where there is one, 1.5 s

            found.append(EventFile(folder, resume_step))
        else:
            found.append(WandbRun(folder, run, config))
    return found


class WandbRun:
    """A run of Weights & Biases, which a training goes on with. WANDB_MODE=offline keeps it in `folder`.

    W&B takes steps in ascending order alone: of those that are made again after a kill, it keeps the first ones.
    """

    def __init__(self, folder: Path, run: str, config: dict[str, Any]) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        if not (known := folder / _ID).exists():
            write_atomic(known, secrets.token_hex(8))
        try:
            self._run = wandb.init(
                project=_PROJECT,
                name=run,
                id=known.read_text(),
                resume="allow",
                dir=folder,
                config=config,
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"W&B cannot be written to ({first_line(error)}): log in by `wandb login`, or keep the run on this "
                "machine by WANDB_MODE=offline"
            ) from error

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the scalars of a step."""
        self._run.log(row, step=step)

    def close(self) -> None:
        """Ends the run when all is sent, or on the disk."""
        self._run.finish()
