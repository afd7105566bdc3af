"""What a script needs before its other imports: the requirements, a place for compiled programs, memory that is kept.

Every script imports this module before anything else (`cli` does). It works on import, because the imports that follow
it are what would fail; it uses nothing that old Pythons lack. Under a Python without the requirements the script ends
with one line instead of a traceback.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

for _descriptor in range(3):  # one that is closed would go to the next file that is opened, and our words into it
    try:
        os.fstat(_descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)

NEEDED = ("absl", "can", "jax", "simplejpeg")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]

if missing or sys.version_info < (3, 11):
    lacking = f"lacks {', '.join(missing)}" if missing else "is older than 3.11"
    sys.exit(
        f"error: {sys.executable or 'this Python'} {lacking}: set the environment up and activate it with "
        "`bash experiments/setup.sh && source .venv/bin/activate`"
    )

from can.system.machine import usable_cpus, user_cache  # noqa: E402  behind the check

HAS_ACCELERATOR = os.environ.get("JAX_PLATFORMS") != "cpu" and any(
    importlib.util.find_spec(plugin) for plugin in ("jax_plugins", "libtpu")
)

# Compiled programs are kept, so that a second start reaches its first step without compiling again; apart for each
# number of cores, which XLA divides a program's loops among when it compiles it, and which JAX leaves out of the
# program's name. A folder of the user's own stays as it is.
_compiled = Path(os.environ.get("XDG_CACHE_HOME") or user_cache()) / "can" / "xla"
if Path(os.environ.get("JAX_COMPILATION_CACHE_DIR", _compiled / "unset")).parent == _compiled:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_compiled / f"{usable_cpus()}_cpus")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

# A bucket is read through gcsfs even where there is TensorFlow, whose errors are others and whose import takes seconds.
os.environ.setdefault("EPATH_USE_TF", "false")

# XLA's CPU backend asks the C library for a step's temporaries and gives them back, every step. glibc gives large ones
# back to the kernel, which clears each page before it is used again: up to a third of a step. mimalloc keeps them. It
# has to be there before a process starts, so the script starts itself anew, in the same process. An LD_PRELOAD of the
# user's own stays as it is, an empty one too; on an accelerator the temporaries are not the C library's affair.
_mimalloc = Path(sysconfig.get_path("platlib"), "cmeel.prefix", "lib", "libmimalloc.so")
_script = getattr(sys.modules["__main__"], "__file__", None)
if (
    _script
    and Path(_script).resolve().is_relative_to(Path(__file__).resolve().parents[1])
    and sys.platform == "linux"
    and "LD_PRELOAD" not in os.environ
    and _mimalloc.exists()
    and not set(" :").intersection(str(_mimalloc))  # which separate the entries of LD_PRELOAD
    and not HAS_ACCELERATOR
):
    os.environ["LD_PRELOAD"] = str(_mimalloc)
    # Milliseconds until what is free goes back: more than a step, which keeps its temporaries, and less than a run, so
    # that the next one of the same process does not hold what this one needed.
    os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10000")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
