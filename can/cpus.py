"""The processor cores that a process may use."""

from __future__ import annotations

import os


def usable_cpus() -> int:
    """How many cores this process may run on; XLA's CPU backend takes as many threads.

    The variable NPROC, which XLA heeds, limits them where a system cannot tie a process to cores (macOS).
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return int(os.environ.get("NPROC", 0)) or os.cpu_count() or 1
