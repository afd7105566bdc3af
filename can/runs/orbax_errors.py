"""Errors of the threads in which orbax saves: noticed when they happen, not when all hosts have saved."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import orbax.checkpoint.experimental.v1 as ocp

from can.system import hosts


class OrbaxErrors(logging.Filter):
    """Keeps orbax from logging the tracebacks of its threads: `Checkpoints` raises the errors that they are about.

    Attributes:
      latest: the error of a thread that saves, since `Checkpoints` began to write.
    """

    latest: BaseException | None = None

    def begin(self) -> None:
        """Forgets earlier errors, and sees what orbax logs from now on."""
        self.latest = None
        logging.getLogger("absl").addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log it."""
        if "orbax" not in Path(record.pathname).parts:
            return True
        if record.exc_info and record.levelno >= logging.ERROR:
            self.latest = record.exc_info[1]
        return False


orbax_errors = OrbaxErrors()


def wait_or_fail(writer: ocp.training.Checkpointer) -> None:
    """Returns when all is written, or raises what went wrong, without waiting for other hosts then."""
    if not hosts.are_several():
        writer.wait()
        return
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            writer.wait()
        except BaseException as error:
            failed.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    while waiting.is_alive() and orbax_errors.latest is None:
        waiting.join(0.1)
    if error := orbax_errors.latest or next(iter(failed), None):
        raise error
