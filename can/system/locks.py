"""One process at a time: a lock on a file, which goes with the process that holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from absl import logging
from filelock import FileLock, Timeout


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds the lock `path`; waits for another holder and says so in one line: what that "other process" does.

    The lock of a process that died is free at once: it belongs to the process's open file. Raises OSError if the file
    cannot be written.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logging.info("waiting for another process that %s", what)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
