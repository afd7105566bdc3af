"""What a command sets before JAX is imported: a place for compiled programs, memory that is kept, the look of pictures.

It works on import: `can.__main__` and `experiments.harness.environment` import it before all that reads the variables.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

from can.system import surroundings
from can.system.machine import usable_cpus, user_cache
from can.system.start import start_anew

if _others := surroundings.fix():
    print(f"left out, as it would make other numbers: {', '.join(_others)}", file=sys.stderr, flush=True)

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

# Pictures have our own look (analysis/lib/drawing.py), and no window.
os.environ["MATPLOTLIBRC"], os.environ["MPLBACKEND"] = os.devnull, "Agg"

# A bucket is read through gcsfs even where there is TensorFlow, whose errors are others and whose import takes seconds.
os.environ.setdefault("EPATH_USE_TF", "false")

_MIMALLOC = Path(sysconfig.get_path("platlib"), "cmeel.prefix", "lib", "libmimalloc.so")


def keep_memory() -> None:
    """Starts this program anew, in the same process, with an allocator that keeps what a training step gives back.

    XLA's CPU backend asks the C library for a step's temporaries and gives them back, every step. glibc gives large
    ones back to the kernel, which clears each page before it is used again: up to a third of a step. mimalloc keeps
    them. It has to be there before a process starts. An LD_PRELOAD of the user's own stays as it is, an empty one too;
    on an accelerator the temporaries are not the C library's affair.
    """
    if (
        sys.platform == "linux"
        and "LD_PRELOAD" not in os.environ
        and _MIMALLOC.exists()
        and not set(" :").intersection(str(_MIMALLOC))  # which separate the entries of LD_PRELOAD
        and not HAS_ACCELERATOR
    ):
        os.environ["LD_PRELOAD"] = str(_MIMALLOC)
        # Milliseconds until what is free goes back: more than a step, which keeps its temporaries, and less than a run,
        # so that the next one of the same process does not hold what this one needed.
        os.environ.setdefault("MIMALLOC_PURGE_DELAY", "10000")
        start_anew(sys.executable)
