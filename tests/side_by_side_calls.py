"""What test_side_by_side.py's processes call: in a module of its own, which they import without JAX."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from can.errors import ConfigError

begun: list[str] = []  # what the process was begun with


def begin() -> None:
    begun.append("hello")


def where() -> tuple[str, set[int]]:
    return begun[0], os.sched_getaffinity(0)


def work(name: str, until: str = "") -> tuple[str, int]:
    """`name` and the process; "wait" takes until there is the file `until`, "wrong" and "killed" never get there."""
    if name == "wrong":
        raise ConfigError("a setting that cannot work")
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    while name == "wait" and not Path(until).exists():
        time.sleep(0.02)
    return name, os.getpid()
