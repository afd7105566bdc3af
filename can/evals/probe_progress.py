"""How far the training of a streamed linear probe has come, on the disk: hours of it outlive a stop."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from can.evals.claimed import STATE
from can.runs.checkpoint import Checkpoints
from can.runs.checkpoint_due import CheckpointDue


class Kept(NamedTuple):
    """Where checkpoints of a training go, and how often one is made: see `can.runs.checkpoint_due`."""

    work_dir: Path
    every_steps: int
    every_seconds: float | None = None


class Progress:
    """The checkpoints of a training whose state fits on the host; its last step has one, too."""

    def __init__(self, kept: Kept, owner: dict[str, Any], last_step: int) -> None:
        self._checkpoints = Checkpoints(kept.work_dir / STATE, owner=owner)
        self._due = CheckpointDue(kept.every_steps, kept.every_seconds)
        self._last_step = last_step

    def restore(self, state: Any) -> tuple[Any, int]:
        """The state that was saved last, as numpy arrays, and its step; or `state` and 0. Errors as `Checkpoints`'."""
        restored = self._checkpoints.restore(_on_host(state))
        if restored is None:
            return state, 0
        logging.info("the linear probe goes on from step %d of %d", restored[1], self._last_step)
        return restored

    def save_if_due(self, step: int, state: Any) -> None:
        """Saves while training goes on, if it is time; errors as `Checkpoints.save`'s."""
        if self._due.at(step) or step == self._last_step:
            self._checkpoints.save(step, _on_host(state))

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._checkpoints.__exit__(kind, error, trace)


def _on_host(state: Any) -> Any:
    """As numpy arrays: all processes hold the same, and the first alone writes them."""
    return jax.tree.map(np.array, state)
