"""Folders that are made once: whole or not at all, also when two processes start at the same time."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from can.errors import DataError
from can.system.locks import locked


def prepare_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Returns `folder`, calling `build(temporary folder)` to fill it if it does not exist yet.

    The temporary folder lies beside `folder` and is renamed when `build` has returned, so a killed process leaves no
    half-made data set (the next one removes its temporary folder); a lock file keeps a second process from doing the
    same work.

    Raises:
      DataError: the disk is full or the place cannot be written to.
    """
    if folder.is_dir():
        return folder
    with _disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), f"prepares {folder}"):
            if folder.is_dir():  # another process made it while this one waited
                return folder
            # Left by processes that were killed: under the lock, nobody else is building.
            for left in folder.parent.glob(f".{folder.name}.*/"):
                shutil.rmtree(left, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            try:
                build(temporary)
                temporary.chmod(0o755)  # mkdtemp's 0700 would hide a shared data_dir from other users
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(place)).free / 2**20
            raise DataError(f"disk full at {place} ({free:.0f} MB free): free some, or pass --data_dir") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            reason = os.strerror(error.errno)
            raise DataError(f"cannot write to {place} ({reason}): pass a --data_dir of your own") from error
        raise


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())
