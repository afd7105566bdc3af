"""Batches that come from worker processes, of which one may die."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Generic, TypeVar

import grain

from can.errors import UserError

T = TypeVar("T")
SHARED_MEMORY = "/dev/shm"  # in which processes hand batches over


class FromWorkers(Iterator[T], Generic[T]):
    """What worker processes make, as they make it; closed, they end.

    Raises UserError, in seconds, when one of them is gone, or cannot be had.
    """

    def __init__(self, made: grain.DatasetIterator[T]) -> None:
        self._made = made

    def __next__(self) -> T:
        try:
            return next(self._made)
        except RuntimeError as error:
            found = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))
            if found is None:
                raise
            code = int(found.group(1))
            how = (
                f"killed by signal {-code}, as the system does for lack of memory" if code < 0 else f"exit code {code}"
            )
            shared = f" of {SHARED_MEMORY}" if -code == signal.SIGBUS else ""  # a page of it that could not be had
            raise UserError(
                f"a process that decodes images is gone ({how}{shared}): the same command goes on from the last "
                "checkpoint, with a smaller --workers it needs less memory"
            ) from error
        except OSError as error:  # of images as such there are DataErrors
            raise UserError(
                f"processes that decode images cannot work here ({error.strerror or error}; they need room in "
                f"{SHARED_MEMORY}, which `docker run --shm-size=1g` gives a container, and open files): "
                "--workers=0 decodes without them"
            ) from error

    def close(self) -> None:
        """Ends the workers."""
        self._made.close()
