"""The repository's commands, one after the other in one process, which imports and compiles once for all of them.

`Commands` starts this file as a script and talks to it: a line of JSON a command, a line of JSON an answer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Commands:
    """`commands("experiments/pretrain.py", "--scale=smoke")` does what the command line does; closed, it ends."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True)

    def __call__(self, script: str, *arguments: str) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([script, *arguments]), file=self._process.stdin, flush=True)
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate(timeout=60)


def serve() -> None:
    """Answers what comes on stdin until it is closed."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else gets between the answers
    sys.path.insert(0, str(REPOSITORY))  # this script lies in `tests`
    # Imported by a script, it would start that script anew for another way to keep memory.
    import experiments.harness.environment  # noqa: F401

    for line in sys.stdin:
        script, *arguments = json.loads(line)
        print(json.dumps(_call(script, arguments)), file=answers, flush=True)
        _forget_flags()


def _call(script: str, arguments: list[str]) -> Done:
    from absl import logging

    out, err = io.StringIO(), io.StringIO()
    path = str(REPOSITORY / script)
    sys.argv = [path, *arguments]
    logging.get_absl_handler().python_handler.setStream(err)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as end:
            if isinstance(end.code, str):  # as the interpreter does
                print(end.code, file=sys.stderr)
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 1
    return Done(status, out.getvalue(), err.getvalue())


def _forget_flags() -> None:
    """The next command defines its own."""
    from absl import flags

    from can.commands import flags as setting_flags

    flags.FLAGS.unparse_flags()
    ours = ("can.", "experiments.", "analysis.", str(REPOSITORY))
    for module, defined in list(flags.FLAGS.flags_by_module_dict().items()):
        if module.startswith(ours):
            for flag in list(defined):
                delattr(flags.FLAGS, flag.name)
    setting_flags._overrides.clear()
    setting_flags._protocols.clear()


if __name__ == "__main__":
    serve()
