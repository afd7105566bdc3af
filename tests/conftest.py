"""What all tests share: shapes checked at run time, one device unless asked for more, the same examples every time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest
from commands import Commands
from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).resolve().parent.parent

# JAX reads these when it is first imported: below this line, by the modules under test.
# One CPU device, whatever the machine has: tests of several use `run_python`, and the others stay fast.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# Every annotated function of the library checks the shapes and types of its arguments and result; an int is a float.
install_import_hook("can", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# A second run of the tests, and the scripts that they start, find programs compiled: the scripts' own folder.
import experiments.harness.environment  # noqa: E402, F401

hypothesis.settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("deterministic")

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """`run_python(code_or_script, *arguments, devices=1, env=None, check=True)` in a process of its own.

    A `Path` is run as a script, a text as a program. `devices` is the number of simulated CPU devices. Unless `check`
    is False, a non-zero exit fails the test and shows what the process wrote. It works in an empty folder.
    """

    def run(
        program: str | Path,
        *arguments: str,
        devices: int = 1,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-c", program] if isinstance(program, str) else [str(program)]), *arguments]
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        variables = os.environ | {"XLA_FLAGS": flags} | dict(env or {})
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{command[1:]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """`commands("experiments/pretrain.py", *flags)`, all in one process; see `Commands`."""
    process = Commands()
    yield process
    process.close()
