"""What a process does before anything else; it uses nothing that old Pythons lack, and no other package."""

from __future__ import annotations

import os
import sys


def open_descriptors() -> None:
    """Opens those of stdin, stdout and stderr that are closed: the next file that is opened would get our words."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def start_anew(python: str) -> None:
    """Runs this program again, in this process, by `python`."""
    os.environ.pop("__PYVENV_LAUNCHER__", None)  # by which macOS's Python would take its own packages again
    os.execv(python, [python, *getattr(sys, "orig_argv", [python, *sys.argv])[1:]])
