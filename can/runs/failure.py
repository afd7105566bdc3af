"""The step at which a training's numbers are no longer finite: how it is found, and what is noted of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from can.config import OptimConfig
from can.errors import DataError, UserError
from can.system.files import read_json, write_json


class NotFinite(UserError):
    """Something of a training is no longer finite.

    Attributes:
      step: the first such step, counted from 1.
    """

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self.step = step


def check_finite(
    steps: Sequence[Mapping[str, float]],
    param_norm: float,
    done: int,
    optim: OptimConfig,
    saved_step: Callable[[], int | None],
) -> None:
    """Raises NotFinite if something of the steps up to `done`, or after them, is not finite.

    `steps`: what each of them measured. `saved_step`: that of the latest checkpoint, if there is one; asked for only
    then, as it may lie in a bucket.
    """
    watched = [
        (title, metrics[name], step)
        for step, metrics in enumerate(steps, start=done - len(steps) + 1)
        for name, title in (("loss", "loss"), ("grad_norm", "norm of the gradients"))
    ]
    for title, value, step in (*watched, ("norm of the parameters", param_norm, done)):
        if not math.isfinite(value):
            saved = saved_step()
            kept = "no checkpoint was made yet" if saved is None else f"the checkpoint of step {saved} is kept"
            raise NotFinite(
                f"the {title} became {value} at step {step} of {optim.last_step} (base_lr {optim.base_lr:g}); {kept}: "
                "train from the start with a lower --base_lr or with --clip_norm=1, which is another run "
                "(if you gave a --name: under another one, or with --force=train); --replay makes that step again",
                step,
            )


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
