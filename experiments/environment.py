"""What a script needs before its other imports: the requirements, and a place for compiled programs.

Every script imports this module before anything else (`cli` does). It works on import, because the imports that follow
it are what would fail; it uses nothing that old Pythons lack. Under a Python without the requirements the script ends
with one line instead of a traceback.
"""

from __future__ import annotations

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
