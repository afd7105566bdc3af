"""What a script needs before its other imports: the requirements, a place for compiled programs, large pages of memory.

Every script imports this module before anything else (`cli` does). It works on import, because the imports that follow
it are what would fail; it uses nothing that old Pythons lack. Under a Python without the requirements the script ends
with one line instead of a traceback.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path

NEEDED = ("absl", "can", "jax")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]

if missing or sys.version_info < (3, 11):
    lacking = f"lacks {', '.join(missing)}" if missing else "is older than 3.11"
    sys.exit(
        f"error: {sys.executable or 'this Python'} {lacking}: set the environment up and activate it with "
        "`bash experiments/setup.sh && source .venv/bin/activate`"
    )

# Compiled programs are kept, so that a second start reaches its first step without compiling again.
_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache / "can" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

# XLA's CPU backend asks the C library for a step's temporaries and gives them back, every step, and the kernel clears
# each page before it is used again: in pages of 4 KB, up to a fifth of a step. glibc asks for pages of 2 MB where it is
# told to, which it can only be before a process starts: so the script starts itself anew, in the same process. Told to
# keep the memory instead (M_ARENA_MAX, M_MMAP_MAX), it has all threads wait for each other at one heap, which compiling
# has left in pieces. Other C libraries do not know the variable.
_HUGE_PAGES = "glibc.malloc.hugetlb"
_script = getattr(sys.modules["__main__"], "__file__", None)
_tunables = os.environ.get("GLIBC_TUNABLES", "")
if (
    _script
    and Path(_script).resolve().parent == Path(__file__).resolve().parent
    and platform.libc_ver()[0] == "glibc"
    and _HUGE_PAGES not in _tunables
):
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (_tunables, f"{_HUGE_PAGES}=1")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
