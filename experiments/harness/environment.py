"""What a script needs before its other imports: this checkout, the requirements, and what every command sets.

Every script imports this module before anything else. It works on import, because the imports that follow it are what
would fail; it uses nothing that old Pythons lack. Under a Python that lacks a requirement the script goes on with the
one in `.venv`, which setup.sh makes or completes where that lacks some as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_script = getattr(sys.modules["__main__"], "__file__", None)
_is_ours = _script is not None and str(Path(_script).resolve()).startswith(str(REPOSITORY) + os.sep)
if _is_ours and Path(sys.path[0]) == Path(str(_script)).resolve().parent:
    sys.path[0] = str(REPOSITORY)  # before any `can` and `analysis` that are installed, perhaps from another checkout

from can.system.start import open_descriptors, start_anew  # noqa: E402  which old Pythons have
from experiments.harness.requirements import lacking  # noqa: E402

_VENV = REPOSITORY / ".venv"
_TRIED = "CAN_TRIED_VENV"  # what was tried already, in the environment of a script that started itself anew


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
        start_anew(python)
    print(f"{lacks}: setting .venv up (experiments/setup.sh)", file=sys.stderr, flush=True)
    try:
        status = subprocess.call(["bash", str(REPOSITORY / "experiments" / "setup.sh")], stdout=subprocess.DEVNULL)
    except OSError as error:
        sys.exit(f"error: cannot run bash ({error}): set the environment up and activate it with {by_hand}")
    if status:
        sys.exit(status)
    os.environ[_TRIED] = "setup"
    start_anew(python)


open_descriptors()
if _missing := lacking(REPOSITORY / "requirements.txt"):
    _go_on_in_venv(_missing)
os.environ.pop(_TRIED, None)

from can.commands.environment import keep_memory  # noqa: E402  behind the check

if _script and Path(_script).resolve().is_relative_to(REPOSITORY / "experiments"):
    keep_memory()
