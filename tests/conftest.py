"""What all tests share: shapes checked at run time, one device unless asked for more, the same examples every time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from commands import Commands
from jaxtyping import install_import_hook

REPOSITORY = Path(__file__).resolve().parent.parent

# JAX reads these when it is first imported: below this line, by the modules under test.
# One CPU device, whatever the machine has: tests of several use `run_python`, and the others stay fast.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling takes most of the time of most tests. The numbers of users' programs are those of all.sh and verify.py.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Without XLA's newer way to write loops, and in one piece, compiling takes 40 % of the time.
COMPILE_FASTER = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {COMPILE_FASTER}"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

# Every annotated function of the library checks the shapes and types of its arguments and result; an int is a float.
# Not the commands: they handle no arrays.
ROOMS = {room.stem for room in (REPOSITORY / "can").iterdir()} - {"__init__", "__main__", "__pycache__", "commands"}
HOOKED = [f"can.{room}" for room in sorted(ROOMS)]
install_import_hook(HOOKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

from can.system.machine import usable_cpus  # noqa: E402  behind the hook

# Workers of pytest-xdist share the cores: XLA and `usable_cpus` read NPROC, torch and BLAS the other variable.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["NPROC"] = os.environ["OMP_NUM_THREADS"] = str(max(usable_cpus() // workers, 1))

# A second run of the tests, and the scripts that they start, find programs compiled: the scripts' own folder.
import experiments.harness.environment  # noqa: E402, F401

hypothesis.settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("deterministic")


class Checkout:
    """The files of this checkout, committed in a repository of their own, in which commands run as a reader's do.

    Attributes:
      root: of the repository.
      aside: a folder that is not in it.
    """

    def __init__(self, folder: Path) -> None:
        self.root, self.aside = folder / "repository", folder
        listed = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=REPOSITORY)
        for name in listed.split("\0"):
            if (REPOSITORY / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self.root / name)
        self._git("init", "--quiet")
        self._git("add", "--all", "--force")
        self._git("-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet", "--message=all")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs Python with this command line in the root."""
        variables = os.environ | {"PYTHONPATH": str(self.root)}
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.root,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def changes(self) -> str:
        """What git says has changed; empty if nothing has."""
        return self._git("status", "--porcelain")

    def ignores(self, path: str) -> bool:
        """Whether git ignores new files of this name."""
        command = ["git", "-C", self.root, "check-ignore", "--quiet", "--no-index", path]
        return subprocess.run(command, check=False).returncode == 0

    def _git(self, *arguments: str, folder: Path | None = None) -> str:
        command = ["git", "-C", folder or self.root, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A `Checkout`, the same for all tests."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    return Checkout(tmp_path_factory.mktemp("checkout"))


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """`run_python(code_or_script, *arguments, devices=1, env=None, check=True)` in a process of its own.

    A `Path` is run as a script, a text as a program, which finds this checkout. `devices` is the number of simulated
    CPU devices. Unless `check` is False, a non-zero exit fails the test and shows what the process wrote. Its folder
    is empty.
    """

    def run(
        program: str | Path,
        *arguments: str,
        devices: int = 1,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 900,  # seconds; programs that take one here take minutes on a machine that others use
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *(["-c", program] if isinstance(program, str) else [str(program)]), *arguments]
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        search = {"PYTHONPATH": str(REPOSITORY)} if isinstance(program, str) else {}
        variables = os.environ | {"XLA_FLAGS": flags} | search | dict(env or {})
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


@pytest.fixture
def one_training_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings of a test, which are of one configuration, share the first compiled step of as many seeds."""
    from can import train  # behind the hook

    made: dict[int, Any] = {}
    make = train.jit_train_step

    def made_once(graphdef: Any, config: Any, state: Any, mesh: Any, num_seeds: int = 1) -> Any:
        if num_seeds not in made:
            made[num_seeds] = make(graphdef, config, state, mesh, num_seeds)
        return made[num_seeds]

    monkeypatch.setattr(train, "jit_train_step", made_once)
