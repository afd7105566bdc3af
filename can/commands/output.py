"""Output that may close, behind `| head` or when the terminal is gone, and whose letters may be fewer than ours."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from can.system.files import DISK_FULL


class LastingOutput(io.TextIOBase):
    """A stream that goes on silently when nobody takes what is written: the results are in files.

    What stands behind its descriptor is replaced then, so that the interpreter can flush it at the end. Letters that
    its encoding lacks are replaced, too.

    Attributes:
      lost: the error of a full disk, which was to keep what was written; None for a reader that is gone.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if stream.errors == "strict" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")

    @property
    def encoding(self) -> str:  # type: ignore[override]  # as text streams have it
        """The stream's encoding."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flushes, or drops what is left."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The descriptor."""
        return self._stream.fileno()

    def _drop(self, error: OSError) -> None:
        if error.errno in DISK_FULL:
            self.lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def outlast_closed_output() -> None:
    """Lets `sys.stdout` and `sys.stderr` close without an error in whatever is being made."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, LastingOutput):
            continue
        if stream is None:  # it was closed before the start
            setattr(sys, name, LastingOutput(open(os.devnull, "w")))  # noqa: SIM115  as long as the process
            continue
        try:
            stream.fileno()
        except (OSError, ValueError):  # a stream in memory, as tests have
            continue
        setattr(sys, name, LastingOutput(stream))
