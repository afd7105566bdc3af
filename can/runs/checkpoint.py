"""Checkpoints of the training state: written beside training, whole or not at all, read back to the bit.

A thin layer over orbax (`orbax.checkpoint.experimental.v1`), which writes each checkpoint into a temporary folder and
renames it to its step once it is whole; in a bucket, it marks it so with a last file (`can.system.places`). Added is:

- Every leaf's shape and dtype are compared before reading (`can.runs.arrays`).
- Every file has a checksum, which is compared before reading. Orbax reads a flipped byte of the weights as another
  weight, without a word, with either of its formats. Process 0 compares them: about a second for each GB and core,
  once each time that a checkpoint is read (ViT-L with Adam's moments: 4 GB). So all files are compared even for a part.
- Each says whose it is (`can.runs.belonging`), and its reader compares.
- When the latest checkpoint is damaged, or another's, the one before is used.
- A full disk becomes a UserError, and so does a bucket that cannot be used; on one of several hosts too, where orbax
  would wait for the others, and they for it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import jax
import orbax.checkpoint.experimental.v1 as ocp
from absl import logging as absl_logging

from can.errors import UserError, first_line
from can.runs import belonging
from can.runs.arrays import BESIDE, PyTree, forms, forms_in, is_beside, load, named_leaves
from can.runs.belonging import Owner
from can.runs.flaws import Flaw, flaw_of, none_is_left
from can.runs.orbax_errors import orbax_errors, wait_or_fail
from can.system import hosts
from can.system.checksums import write_checksums
from can.system.files import write_error
from can.system.places import (
    Place,
    access_error,
    failures,
    is_in_the_way,
    place,
    reached,
    remove,
    replace_link,
    set_aside,
    steps_in,
)
from can.system.stopping import Stopped

policies = ocp.training.preservation_policies


class Checkpoints:
    """The checkpoints of one run in `directory`: the latest `keep`, and those of the multiples of `keep_every`.

    `directory` is a folder, or a place in a bucket. What is said below of a full disk holds of a bucket that is out of
    reach, too. The state is any pytree of arrays and plain numbers. Reading never changes the folder, so that a run can
    be evaluated while it trains. The first `save` clears away what a killed process left half-written, and the damaged
    checkpoints that `restore` passed over; those of others, it sets aside.

    `owner`: whose they are, as plain JSON values: written into each, and compared when one is read. None compares
    nothing.
    """

    def __init__(
        self, directory: Place, keep: int = 2, keep_every: int | None = None, owner: Owner | None = None
    ) -> None:
        self.directory = place(directory)
        _check_path(self.directory)
        kept_for_good = [] if keep_every is None else [policies.EveryNSteps(keep_every)]
        self._kept = policies.AnyPreservationPolicy([policies.LatestN(keep), *kept_for_good])
        self._writer: ocp.training.Checkpointer | None = None
        self._last_step: int | None = None  # saved or restored by this object
        self._owner = owner
        self._passed_over: dict[int, Flaw] = {}  # by `restore`
        self._files: Mapping[str, bytes] = {}  # that go with what is being saved
        self._unverified: dict[str, str] | None = None  # the leaves of what was saved last

    @property
    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending. Only lists the folder: some may be damaged."""
        return steps_in(self.directory)

    @property
    def latest_step(self) -> int | None:
        """The last of `steps`, or None."""
        return max(self.steps, default=None)

    def save(self, step: int, state: PyTree, wait: bool = False, *, files: Mapping[str, bytes] | None = None) -> None:
        """Saves `state` as of `step` while training goes on (its buffers may be donated at once), or waits for the end.

        `files`: small ones that go with it, by name; see `bring_back`. Of several processes, the first one's count.

        Saving the step that was restored or saved last does nothing. Raises UserError if the disk is full: here or,
        when saving in the background, at the next call; the checkpoint before is then intact. Raises ValueError if the
        folder holds this or a later step of another training: restore it, or `clear` the folder first.
        """
        self.wait()
        latest = max(set(self.steps) - set(self._passed_over), default=-1)
        if step <= latest:
            if step == self._last_step:
                return
            raise ValueError(f"{self.directory} has step {latest} already: step {step} would not be kept")
        self._clear_passed_over()
        if hosts.is_first() and is_in_the_way(path := self.directory / str(step)):
            set_aside(path)
        self._last_step, self._unverified, self._files = step, forms(state), files or {}
        try:
            self._open().save_async(step, state, force=True)
        except failures(self.directory) as error:
            self._abandon_save(error)
            raise
        if wait:
            self.wait()

    def restore(self, example: PyTree) -> tuple[PyTree, int] | None:
        """The latest sound checkpoint as (state, step), or None if there is none at all.

        Warns of each later one that is damaged or another's, with a line. `example` is a state or its
        `jax.ShapeDtypeStruct`s: the result has its structure and is laid out over devices as its shardings say, on
        however many devices it was saved; a leaf without a sharding goes to the first device. Raises UserError if no
        checkpoint can be used, or, naming the first leaf that differs, if the latest sound one is of another model.
        """
        return self._restore((), example, None)

    def restore_beside(self) -> dict[str, jax.Array]:
        """What was saved as `BESIDE` with the state that `restore` read; nothing if there is nothing."""
        folder = self.directory / str(self._last_step)
        with reached(folder):
            leaves = named_leaves(ocp.metadata(folder).metadata)
        parts = {name.partition("/")[2]: leaf for name, leaf in leaves.items() if is_beside(name)}
        example = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in parts.items()}
        return load(folder, {BESIDE: example}, f"{BESIDE}/")[BESIDE] if example else {}

    def restore_part(self, *path: str, example: PyTree, step: int | None = None) -> tuple[PyTree, int] | None:
        """The part of the state under `path`, such as `"params", "encoder"`, and its step; errors as of `restore`.

        With `step`, of that checkpoint and no other: None if it is not there, UserError if it is damaged or another's.
        """
        return self._restore(path, example, step)

    def bring_back(self, to: Path, *names: str) -> bool:
        """Writes the files of these names that go with the checkpoint that was restored last into the folder `to`.

        Returns whether there are any: earlier versions kept none.
        """
        folder = self.directory / str(self._last_step)
        with reached(folder):
            found = hosts.decided(belonging.bring_back, folder, to, names)
        hosts.wait_for_all("files of the checkpoint are back")
        return found

    def clear(self) -> None:
        """Deletes all checkpoints, for a training that starts anew."""
        self.close()
        if hosts.is_first():
            remove(self.directory)
        hosts.wait_for_all("the checkpoints are cleared away")

    def check(self) -> None:
        """Raises UserError if saving in the background has failed; returns at once."""
        if orbax_errors.latest is not None:
            self.wait()

    def wait(self) -> None:
        """Returns when everything is saved. Raises UserError if the disk was full, or it cannot be read back."""
        if self._writer is None:
            return
        try:
            wait_or_fail(self._writer)
        except failures(self.directory) as error:
            self._unverified = None
            self._abandon_save(error)
            raise
        if self._unverified is not None:
            saved, self._unverified = self._unverified, None
            folder = self.directory / str(self._last_step)
            with reached(folder):
                found = forms_in(folder)
            if found != saved:
                raise UserError(
                    f"the checkpoint {folder} cannot be read back as it was written: "
                    "pass another --workdir or --checkpoints"
                )

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
        # A signal came to this process alone, and the others may never be where orbax would wait for them.
        if isinstance(error, Stopped) and hosts.are_several():
            return
        # The first error is the one to show: a full disk must not hide why training stopped.
        with contextlib.suppress(UserError) if error is not None else contextlib.nullcontext():
            self.close()

    def _open(self) -> ocp.training.Checkpointer:
        if self._writer is None:
            orbax_errors.begin()
            if hosts.is_first():
                for step in self.steps:
                    replace_link(self.directory / str(step))  # orbax could not delete it
            context = ocp.Context()
            # Not the method itself: orbax copies what it is given, and with a method its object.
            context.asynchronous.post_finalization_callback = lambda: self._write_checksums()
            self._writer = ocp.training.Checkpointer(
                self.directory,
                context=context,
                preservation_policy=self._kept,
                cleanup_tmp_directories=True,
            )
        return self._writer

    def _abandon_save(self, error: Exception) -> None:
        """Clears away what a failed save left. Raises UserError if the operating system, or the bucket, refused it."""
        writer, self._writer = self._writer, None
        if writer is not None and not hosts.are_several():  # of which this one alone may have failed
            with contextlib.suppress(*failures(self.directory)):  # the same error once more
                writer.close()
        if told := access_error(self.directory, error):  # the next save clears away what this one left
            raise told from error
        for part in self.directory.glob("*.orbax-checkpoint-tmp*"):  # it may be what fills the disk
            with contextlib.suppress(OSError):
                remove(part)
        code = _os_error_code(error)
        if code is not None:
            raise write_error(self.directory, OSError(code, os.strerror(code))) from error

    def _write_checksums(self) -> None:
        """Called by orbax in process 0, in the background, when all processes have written their files.

        The folder is not renamed, or marked as whole, yet. So a kill leaves no complete checkpoint without checksums,
        and none of the older ones is deleted before the new one can be checked.
        """
        to_rename = list(self.directory.glob(f"{self._last_step}.orbax-checkpoint-tmp*"))
        (folder,) = to_rename or [self.directory / str(self._last_step)]
        assert self._last_step is not None
        belonging.write(folder, self._owner or {}, self._last_step, self._files)
        write_checksums(folder)

    def _clear_passed_over(self) -> None:
        """Deletes damaged checkpoints, sets others' aside: they would count among the latest, and stand in the way."""
        if not self._passed_over:
            return
        self.close()  # what orbax knows of the folder is out of date
        if hosts.is_first():
            for step, flaw in self._passed_over.items():
                (set_aside if flaw.strange else remove)(self.directory / str(step))
        hosts.wait_for_all("checkpoints that cannot be used are out of the way")
        self._passed_over.clear()

    def _restore(self, path: tuple[str, ...], example: PyTree, only: int | None) -> tuple[PyTree, int] | None:
        self.wait()
        for key in reversed(path):
            example = {key: example}
        flaws: dict[int, Flaw] = {}
        while (candidate := self._latest(set(flaws), only)) is not None:
            step, flaw = candidate
            folder = self.directory / str(step)
            try:
                if flaw is None:
                    state = load(folder, example, "".join(f"{key}/" for key in path))
                    break
            # Each process reads the same files, and so finds the same.
            except failures(folder) + (KeyError, TypeError, AttributeError) as error:
                if told := access_error(folder, error, found=True):
                    raise told from error
                flaw = Flaw(first_line(error))
            flaws[step] = flaw
        else:
            if flaws:
                raise none_is_left(self.directory, flaws)
            return None
        if hosts.is_first():
            for later, flaw in flaws.items():
                absl_logging.warning(
                    "the checkpoint %s %s: going on from step %d", self.directory / str(later), flaw.told, step
                )
        self._last_step, self._passed_over = step, flaws
        for key in path:
            state = state[key]
        return state, step

    def _latest(self, besides: set[int], only: int | None) -> tuple[int, Flaw | None] | None:
        """The latest step, or `only`, that is not among `besides`, and what is wrong with it.

        Process 0 looks, for all must read the same. A checkpoint without checksums counts as sound if it can be read:
        it was made by a version of this code that wrote none.
        """

        def look() -> tuple[int, Flaw | None] | None:
            step = max((step for step in self.steps if step not in besides and only in (None, step)), default=None)
            if step is None:
                return None
            with reached(self.directory):
                return step, flaw_of(self.directory / str(step), self._owner, step)

        return hosts.decided(look)


def _check_path(directory: Place) -> None:
    """Raises UserError for a folder in which orbax writes what it cannot find again: it takes paths for patterns."""
    path = str(directory).removeprefix("gs://")
    if (shown := path.encode(errors="backslashreplace").decode()) != path:
        raise UserError(f"checkpoints cannot be kept in {shown}, whose name is not UTF-8: pass another --workdir")
    if found := next((text for text in ("[", "\\", ":/") if text in path), None):
        raise UserError(f"checkpoints cannot be kept in {directory}, whose path has {found!r}: pass another --workdir")


def _os_error_code(error: Exception) -> int | None:
    """The errno behind an error; tensorstore writes it into the text of a ValueError."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"os_error_code='(\d+)'", str(error))
    return int(found.group(1)) if found else None
