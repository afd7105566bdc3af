"""One run while it trains: where it goes on, and its log, checkpoints, clock and provenance."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from absl import logging

from can import keys
from can.config import RunConfig
from can.data import ImageSet, places_in_batch
from can.errors import UserError
from can.runs.belonging import files_in
from can.runs.checkpoint import BESIDE, Checkpoints, PyTree
from can.runs.clock import Clock
from can.runs.failure import Failure, NotFinite, check_finite
from can.runs.folder import RunDir
from can.runs.images import FILE as IMAGES
from can.runs.images import ImageHistory
from can.runs.log import TrainLog, check_whole
from can.runs.provenance import peak_memory_mb, provenance
from can.runs.row import Metrics
from can.runs.skipped import Skipped
from can.runs.writers import open_writers
from can.system import hosts
from can.system.checksums import checksum_of
from can.system.files import write_json

BROUGHT_BACK = ("train.csv", "clock.json", "skipped.json")  # into the working folder, with a checkpoint


class Recorder:
    """What a run keeps of its training; a context manager, which ends log and checkpoints.

    Attributes:
      start_step: that of the latest checkpoint, or 0.
      restored: the state of that checkpoint, if there is one.
      row: what its steps since the last row of the log measured, by metric.
    """

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        images: ImageSet,
        example: PyTree,
        log_every: int,
        keep_every: int | None,
        write_to: Sequence[str] = ("tensorboard",),
    ) -> None:
        """Reads the latest checkpoint; `example` says what a state is, and where it lies.

        `write_to`: places of `can.runs.writers` for what is logged.

        Raises DataError if its log is neither in it nor whole.
        """
        self.config, self.run, self._images, self._write_to = config, run, images, write_to
        self.checkpoints = Checkpoints(run.checkpoints, keep_every=keep_every, owner=run.owner(config))
        restored = self.checkpoints.restore(example)
        self.restored: Any = restored[0] if restored else None
        self.start_step = restored[1] if restored else 0
        self.row: Mapping[str, Any] = self.checkpoints.restore_beside() if restored else {}
        if restored and not self.checkpoints.bring_back(run.work, *BROUGHT_BACK):
            hosts.decided(check_whole, run.work / "train.csv", self.start_step, log_every)

    def __enter__(self) -> Recorder:
        """Begins clock and log, as of the step at which it goes on."""
        self._held = contextlib.ExitStack()
        self._held.enter_context(self.checkpoints)
        self._clock = Clock(self.run.work / "clock.json", self.start_step)
        self.skipped = Skipped(self.run.work / "skipped.json", self.start_step)
        last_step = self.config.optim.last_step
        writers = partial(open_writers, self._write_to, self.run.work, self.run.name, self.config.to_dict())
        self._log = TrainLog(self.run.work / "train.csv", writers, last_step, self.start_step)
        self._held.enter_context(self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def check(self, steps: Sequence[Metrics], param_norm: float, done: int) -> None:
        """Raises NotFinite, and notes it, if something of the row's steps up to `done`, or after them, is not finite.

        Raises UserError if too many images were damaged, or a checkpoint could not be saved.
        """
        optim = self.config.optim
        try:
            check_finite(steps, param_norm, done, optim, lambda: self.checkpoints.latest_step)
        except NotFinite as error:
            order = keys.int_seed(self.config.seed, "order")
            places = places_in_batch(self._images, batch_size=optim.batch_size, seed=order, step=error.step - 1)
            Failure(self.run.work).note(error.step, self.config.seed, places)
            raise
        self.skipped.check(done, optim.batch_size)
        self.checkpoints.check()

    def write(self, done: int, row: Metrics) -> None:
        """Logs a row; before a checkpoint of that step."""
        self._log.write(done, row)

    def save(self, done: int, state: Any, row: Mapping[str, np.ndarray]) -> None:
        """Saves the state as of a step, and what the `row` has that was begun, while training goes on."""
        self._clock.save()
        self.skipped.save(done)
        files = files_in(self.run.work, (*BROUGHT_BACK, IMAGES)) | {"train.csv": self._log.written_through()}
        self.checkpoints.save(done, {**state._asdict(), BESIDE: dict(row)}, files=files)

    def publish(self, weights: str, together: Sequence[int]) -> None:
        """Publishes the log, and what made it, when all is saved.

        `weights`: the fingerprint of the encoder; `together`: the seeds that one program trained.
        """
        self.checkpoints.wait()
        self._log.publish(self.run.results)
        elapsed, optim = self._clock.elapsed(), self.config.optim
        speed = optim.last_step * optim.batch_size / elapsed
        record = provenance(self._images, self._clock.started, elapsed, optim.last_step, speed, weights)
        if len(together) > 1:
            record["seeds_at_once"] = list(together)
        if len(seen := ImageHistory(self.run.work / IMAGES).entries) > 1:
            record["data_history"] = seen
        if hosts.is_first():
            record["log"] = checksum_of(self.run.results / self._log.path.name)
        if self.skipped.count:
            record["skipped_images"] = self.skipped.count
        write_json(self.run.results / "provenance.json", record)
        memory = peak_memory_mb() / 1000
        logging.info("%s: %d steps in %.0f s, peak memory %.1f GB", self.run.name, optim.last_step, elapsed, memory)


def same_step(recorders: Sequence[Recorder]) -> int:
    """The step at which all of them go on. Raises UserError if they do not: a damaged checkpoint was passed over."""
    steps = {recorder.run.name: recorder.start_step for recorder in recorders}
    if len(set(steps.values())) > 1:
        at = ", ".join(f"{name} at step {step}" for name, step in steps.items())
        raise UserError(f"these runs cannot be trained in one program ({at}): pass --seeds_at_once=1")
    return recorders[0].start_step
