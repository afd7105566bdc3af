"""What a script needs before its other imports: the requirements, a place for compiled programs, memory that is kept.

Every script imports this module before anything else (`cli` does). It works on import, because the imports that follow
it are what would fail; it uses nothing that old Pythons lack. Under a Python that lacks a requirement the script goes
on with the one in `.venv`, which setup.sh makes or completes where that lacks some as well.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from experiments.harness.requirements import lacking

for _descriptor in range(3):  # one that is closed would go to the next file that is opened, and our words into it
    try:
        os.fstat(_descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)

REPOSITORY = Path(__file__).resolve().parents[2]
_VENV = REPOSITORY / ".venv"
_TRIED = "CAN_TRIED_VENV"  # what was tried already, in the environment of a script that started itself anew
_script = getattr(sys.modules["__main__"], "__file__", None)
_is_ours = _script is not None and str(Path(_script).resolve()).startswith(str(REPOSITORY) + os.sep)


def _start_anew(python: str) -> None:
    """Runs this script again, in this process, by `python`."""
    os.environ.pop("__PYVENV_LAUNCHER__", None)  # by which macOS's Python would take its own packages again
    os.execv(python, [python, *getattr(sys, "orig_argv", [python, *sys.argv])[1:]])


def _go_on_in_venv(missing: list[str]) -> None:
    """Ends this program: starts it anew by the Python of `.venv`, else with a line that says what to do."""
    by_hand = "`bash experiments/setup.sh && source .venv/bin/activate`"
    tried, python = os.environ.pop(_TRIED, ""), str(_VENV / "bin" / "python")
    what = missing[0] + (f" and {len(missing) - 1} more" if missing[1:] else "")
    lacks = f"{sys.executable or 'this Python'} lacks {what}"
    if not _is_ours or tried == "setup":
        sys.exit(f"error: {lacks}: set the environment up and activate it with {by_hand}")
    if not tried and os.access(python, os.X_OK) and Path(sys.prefix).resolve() != _VENV:
        print(f"{lacks}: going on with .venv/bin/python", file=sys.stderr, flush=True)
        os.environ[_TRIED] = "venv"
        _start_anew(python)
    print(f"{lacks}: setting .venv up (experiments/setup.sh)", file=sys.stderr, flush=True)
    try:
        status = subprocess.call(["bash", str(REPOSITORY / "experiments" / "setup.sh")], stdout=subprocess.DEVNULL)
    except OSError as error:
        sys.exit(f"error: cannot run bash ({error}): set the environment up and activate it with {by_hand}")
    if status:
        sys.exit(status)
    os.environ[_TRIED] = "setup"
    _start_anew(python)


_requirements = REPOSITORY / "requirements.txt"  # which an installed package has not: pip brought what it needs
_missing = lacking(_requirements) if _requirements.exists() else []
if _missing:
    _go_on_in_venv(_missing)
os.environ.pop(_TRIED, None)

from can.system import surroundings  # noqa: E402  behind the check
from can.system.machine import usable_cpus, user_cache  # noqa: E402

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

# XLA's CPU backend asks the C library for a step's temporaries and gives them back, every step. glibc gives large ones
# back to the kernel, which clears each page before it is used again: up to a third of a step. mimalloc keeps them. It
# has to be there before a process starts, so the script starts itself anew, in the same process. An LD_PRELOAD of the
# user's own stays as it is, an empty one too; on an accelerator the temporaries are not the C library's affair.
_mimalloc = Path(sysconfig.get_path("platlib"), "cmeel.prefix", "lib", "libmimalloc.so")
if (
    _script
    and Path(_script).resolve().is_relative_to(REPOSITORY / "experiments")
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
    _start_anew(sys.executable)
