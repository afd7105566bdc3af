"""The processor cores, the memory and the folder for caches that a process may use."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container's memory, in bytes, or "max"


def usable_cpus() -> int:
    """How many threads XLA's CPU backend takes: the variable NPROC, else the cores that this process may run on."""
    told = os.environ.get("NPROC", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def user_cache() -> Path:
    """Where programs keep what they can make again; a user of a container may have no home, but has a /tmp."""
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"cache-of-{os.getuid()}"


def usable_memory_gb() -> float:
    """The memory of this machine or, if that is less, of the container that it plays."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else "max"
    return (min(memory, int(limit)) if limit.isdigit() else memory) / 1e9
