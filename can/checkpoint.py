"""Checkpoints of the training state: written beside training, whole or not at all, read back to the bit.

A thin layer over orbax (`orbax.checkpoint.experimental.v1`), which writes each checkpoint into a temporary folder and
renames it to its step once it is whole. What is added: every leaf's shape and dtype are compared before reading (orbax
casts dtypes in silence, and when it reads a part it makes up leaves that are not there), and a full disk becomes a
UserError.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp

from can.errors import UserError
from can.files import write_error

PyTree = Any


class Checkpoints:
    """The checkpoints of one run in `directory`, of which the latest `keep` are kept.

    The state is any pytree of arrays and plain numbers. Reading never changes the folder, so that a run can be
    evaluated while it trains; the first `save` clears away what a killed process left half-written.
    """

    def __init__(self, directory: Path, keep: int = 1) -> None:
        self.directory = Path(directory).resolve()
        self._keep = keep
        self._writer: ocp.training.Checkpointer | None = None
        self._last_step: int | None = None  # saved or restored by this object

    @property
    def latest_step(self) -> int | None:
        """The step of the latest complete checkpoint, or None."""
        if not self.directory.is_dir():
            return None
        complete = ocp.path.step.standard_name_format().find_all(self.directory)
        return max((checkpoint.step for checkpoint in complete), default=None)

    def save(self, step: int, state: PyTree, wait: bool = False) -> None:
        """Saves `state` as of `step` while training goes on (its buffers may be donated at once), or waits for the end.

        Saving the step that was restored or saved last does nothing. Raises UserError if the disk is full: here or,
        when saving in the background, at the next call; the checkpoint before is then intact. Raises ValueError if the
        folder holds this or a later step of another training: restore it, or `clear` the folder first.
        """
        self.wait()
        latest = self.latest_step
        if latest is not None and step <= latest:
            if step == self._last_step:
                return
            raise ValueError(f"{self.directory} has step {latest} already: step {step} would not be kept")
        self._last_step = step
        try:
            self._open().save_async(step, state, force=True)
        except (OSError, ValueError) as error:
            self._abandon_save(error)
            raise
        if wait:
            self.wait()

    def restore(self, example: PyTree) -> tuple[PyTree, int] | None:
        """The latest complete checkpoint as (state, step), or None if there is none.

        `example` is a state or its `jax.ShapeDtypeStruct`s: the result has its structure and is laid out over devices
        as its shardings say, on however many devices it was saved; a leaf without a sharding goes to the first device.
        Raises UserError, naming the first leaf that differs, if the checkpoint is of another model.
        """
        return self._restore((), example)

    def restore_part(self, *path: str, example: PyTree) -> tuple[PyTree, int] | None:
        """As `restore`, but reads only the part of the state under `path`, such as `"params", "encoder"`."""
        return self._restore(path, example)

    def clear(self) -> None:
        """Deletes all checkpoints, for a training that starts anew."""
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def wait(self) -> None:
        """Returns when everything is saved. Raises UserError if the disk was full."""
        if self._writer is None:
            return
        try:
            self._writer.wait()
        except (OSError, ValueError) as error:
            self._abandon_save(error)
            raise

    def close(self) -> None:
        """Waits, and frees orbax's threads; a later `save` starts them again."""
        try:
            self.wait()
        finally:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The first error is the one to show: a full disk must not hide why training stopped.
        with contextlib.suppress(UserError) if error is not None else contextlib.nullcontext():
            self.close()

    def _open(self) -> ocp.training.Checkpointer:
        if self._writer is None:
            _silence_orbax()
            self._writer = ocp.training.Checkpointer(
                self.directory,
                preservation_policy=ocp.training.preservation_policies.LatestN(self._keep),
                cleanup_tmp_directories=True,
            )
        return self._writer

    def _abandon_save(self, error: OSError | ValueError) -> None:
        """Clears away what a failed save left. Raises UserError if the operating system refused it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError, ValueError):  # the same error once more
                writer.close()
        for part in self.directory.glob("*.orbax-checkpoint-tmp*"):  # it may be what fills the disk
            shutil.rmtree(part, ignore_errors=True)
        code = _os_error_code(error)
        if code is not None:
            raise write_error(self.directory, OSError(code, os.strerror(code))) from error

    def _restore(self, path: tuple[str, ...], example: PyTree) -> tuple[PyTree, int] | None:
        self.wait()
        step = self.latest_step
        if step is None:
            return None
        folder = self.directory / str(step)
        for key in reversed(path):
            example = {key: example}
        try:
            _check_same_leaves(folder, example, whole=not path)
            context = ocp.Context()
            context.pytree.loading.partial_load = True  # `example` alone says what is read, and its structure
            with context:
                state = ocp.load(folder, jax.tree.map(_abstract, example))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"the checkpoint {folder} is damaged ({_first_line(error)}): delete that folder and start again"
            ) from error
        self._last_step = step
        for key in path:
            state = state[key]
        return state, step


def _check_same_leaves(folder: Path, example: PyTree, whole: bool) -> None:
    saved, asked = _forms(ocp.metadata(folder).metadata), _forms(example)
    if not saved:
        raise ValueError("its list of arrays cannot be read")
    names = [*asked, *(saved if whole else ())]
    different = list(dict.fromkeys(name for name in names if saved.get(name) != asked.get(name)))
    if different:
        name, others = different[0], len(different) - 1
        raise UserError(
            f"the checkpoint {folder} is of another model: {name} is {saved.get(name, 'missing')} there and "
            f"{asked.get(name, 'missing')} here{f' ({others} more differ)' if others else ''}; "
            "pass another --name or --workdir, or --force=train to start anew"
        )


def _forms(tree: PyTree) -> dict[str, str]:
    """Each leaf's name and what it is, such as `params/encoder/w: float32[192, 64]`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{np.dtype(leaf.dtype)}{list(leaf.shape)}" if hasattr(leaf, "shape") else type(leaf).__name__
        )
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _abstract(leaf: Any) -> Any:
    """What orbax is to make of a leaf: an array on devices of today, never on those that it was saved from."""
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return leaf
    sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _os_error_code(error: Exception) -> int | None:
    """The errno behind an error; tensorstore writes it into the text of a ValueError."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found.group(1)) if found else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def _silence_orbax() -> None:
    """Keeps orbax from logging the tracebacks of its threads: `Checkpoints` raises the error that they are about."""
    logger = logging.getLogger("absl")
    if _not_by_orbax not in logger.filters:
        logger.addFilter(_not_by_orbax)


def _not_by_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts
