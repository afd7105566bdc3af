"""What a script needs before its other imports: the requirements, a place for compiled programs, memory that is kept.

Every script imports this module before anything else (`cli` does). It works on import, because the imports that follow
it are what would fail; it uses nothing that old Pythons lack. Under a Python without the requirements the script ends
with one line instead of a traceback.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
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

# XLA's CPU backend asks the C library for a step's temporaries and gives them back, every step; by default glibc gives
# blocks of more than 32 MB back to the kernel, which clears each page before it is used again. Keeping them made steps
# at laptop 1.2 to 1.4 times as fast. The numbers are those of <malloc.h>; other C libraries have no mallopt.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
if _mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
    _mallopt(_M_ARENA_MAX, 1)  # the arenas of threads cannot grow beyond 64 MB, the first one can
    _mallopt(_M_MMAP_MAX, 0)
    _mallopt(_M_TRIM_THRESHOLD, -1)  # never
    _mallopt(_M_TOP_PAD, 1 << 26)  # bytes by which it grows at least
