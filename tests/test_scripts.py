from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHELL_SCRIPTS = sorted([*REPOSITORY.glob("*/*.sh"), REPOSITORY / ".ci" / "run"])
COMMANDS = [
    script
    for script in sorted([*REPOSITORY.glob("experiments/**/*.py"), *REPOSITORY.glob("analysis/**/*.py")])
    if '__name__ == "__main__"' in script.read_text(encoding="utf-8") and script.parent.name != "harness"
]
# Plays Python in setup.sh: makes a .venv whose Python is itself, and notes what pip is asked for instead of doing it,
# which takes as long as there is the file $HOLD. What is missing in .venv is in the file $LACKING, until pip comes.
PYTHON = f"""#!/usr/bin/env bash
case "$1 ${{2-}}" in
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "venv" >>"$LOG" ;;
"-m pip")
  echo "pip ${{*:3}}" >>"$LOG"
  while [ -e "${{HOLD-}}" ]; do sleep 0.02; done
  rm -f "${{LACKING-}}"
  exit "${{PIP_STATUS:-0}}" ;;
"-I experiments/harness/requirements.py") cat "${{LACKING-}}" 2>/dev/null || true ;;
*) exec {sys.executable} "$@" ;;
esac
"""
# Plays pip: it brings a distribution `can`, and all packages of the Python that runs the tests.
PIP = """#!/usr/bin/env bash
if [ "$1 ${2-}" = "-m pip" ]; then
  packages="$(echo "$(dirname "$0")"/../lib/python*/site-packages)"
  echo "$PACKAGES" >"$packages/all.pth"
  mkdir -p "$packages/can-0.dist-info" && echo "Name: can" >"$packages/can-0.dist-info/METADATA"
else
  exec "$(dirname "$0")/real" "$@"
fi
"""
# Plays Python in setup.sh, too: the environment that it makes is a real one, but for pip.
MAKER = f"""#!/usr/bin/env bash
if [ "$1 ${{2-}}" = "-m venv" ]; then
  {sys.executable} -m venv --without-pip "$3" && mv "$3/bin/python" "$3/bin/real"
  cp "$(dirname "$0")/pip" "$3/bin/python"
else
  exec {sys.executable} "$@"
fi
"""


class Checkout:
    """A copy of what setup.sh needs, in which nothing is really installed."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "log"
        (root / "experiments").mkdir(parents=True)
        self.script = root / "experiments" / "setup.sh"
        self.script.write_text((REPOSITORY / "experiments" / "setup.sh").read_text(encoding="utf-8"))
        for name in ("requirements.txt", "pyproject.toml"):
            (root / name).write_text(name)
        python = root / "python stub"
        python.write_text(PYTHON)
        python.chmod(0o755)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("CAN_", "JAX_"))}
        self.environment |= {"CAN_PYTHON": str(python), "LOG": str(self.log)}

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(self.script)],
            env=self.environment | environment,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, **environment: str) -> tuple[int, str]:
        """Exit status and standard error."""
        process = self.start(**environment)
        error = process.communicate(timeout=60)[1]
        return process.returncode, error

    def start_held(self) -> tuple[subprocess.Popen[str], Path]:
        """A start that has got to pip, and the file without which it goes on."""
        hold = self.root.parent / "hold"
        hold.touch()
        process = self.start(HOLD=str(hold))
        deadline = time.monotonic() + 60
        while "pip" not in (self.log.read_text() if self.log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, hold

    def done(self) -> list[str]:
        """What was made and installed since the last call, each as its first word."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line.split()[0] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a folder")


def test_a_first_start_makes_the_environment_and_a_second_does_nothing_in_under_two_seconds(checkout: Checkout) -> None:
    """Seconds of processor time, which other work on the machine does not lengthen."""
    assert checkout.run()[0] == 0
    assert "pip install" in checkout.log.read_text() and "jax[cpu]" in checkout.log.read_text()
    assert checkout.done() == ["venv", "pip"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert checkout.run() == (0, "")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert checkout.done() == []


def test_what_somebody_removed_from_the_environment_is_installed_again(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run()
    checkout.done()
    (lacking := tmp_path / "lacking").write_text("optax")
    assert checkout.run(LACKING=str(lacking))[0] == 0
    assert checkout.done() == ["pip"]


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_changed_requirements_are_installed_into_the_same_environment(checkout: Checkout, name: str) -> None:
    checkout.run()
    checkout.done()
    (checkout.root / name).write_text("another version")
    assert checkout.run()[0] == 0
    assert checkout.done() == ["pip"]


def test_a_failed_installation_ends_with_one_clear_line_and_starts_over_next_time(checkout: Checkout) -> None:
    status, error = checkout.run(PIP_STATUS="1")
    assert status == 1
    assert error.splitlines()[-1].startswith("error: pip could not install requirements.txt pyproject.toml")
    checkout.done()
    assert checkout.run()[0] == 0
    assert checkout.done() == ["venv", "pip"]


def test_an_installation_that_was_killed_starts_over(checkout: Checkout) -> None:
    process, _ = checkout.start_held()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    checkout.done()
    assert checkout.run()[0] == 0
    assert checkout.done() == ["venv", "pip"]


def test_two_starts_at_once_install_once_and_both_succeed(checkout: Checkout) -> None:
    first, hold = checkout.start_held()
    second = checkout.start()
    assert second.stderr is not None
    assert "waiting for another start" in second.stderr.readline()
    hold.unlink()
    assert [process.wait(timeout=60) for process in (first, second)] == [0, 0]
    assert checkout.done() == ["venv", "pip"]


def test_the_kind_of_wheels_is_remembered_and_another_kind_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.run(CAN_JAX="cuda13")
    assert "jax[cuda13]" in checkout.log.read_text()
    assert checkout.done() == ["venv", "pip"]
    assert checkout.run() == (0, "")
    assert checkout.done() == []
    checkout.run(CAN_JAX="cpu")
    assert checkout.done() == ["venv", "pip"]


def test_an_environment_that_was_moved_is_made_anew(checkout: Checkout) -> None:
    checkout.run()
    checkout.done()
    moved = checkout.root.rename(checkout.root.parent / "moved")
    checkout.script, checkout.log = moved / "experiments" / "setup.sh", moved / "log"
    checkout.environment |= {"CAN_PYTHON": str(moved / "python stub"), "LOG": str(checkout.log)}
    assert checkout.run()[0] == 0
    assert checkout.done() == ["venv", "pip"]


def test_unknown_wheels_and_an_unfit_python_are_one_clear_line(checkout: Checkout) -> None:
    assert checkout.run(CAN_JAX="cuda") == (1, "error: unknown CAN_JAX 'cuda' (valid: cpu, cuda12, cuda13, tpu)\n")
    status, error = checkout.run(CAN_PYTHON="/bin/false")
    assert (status, error.count("\n")) == (1, 1)
    assert error.startswith("error: no Python 3.11 to 3.14 found (tried /bin/false): install one")
    assert checkout.done() == []


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda script: script.name)
def test_shell_scripts_are_executable_stop_at_errors_and_parse(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n") and "\nset -euo pipefail\n" in text
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize("script", COMMANDS, ids=lambda script: script.name)
def test_a_command_imports_first_what_finds_or_makes_the_environment(script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    first = lines[lines.index("from __future__ import annotations") + 2]
    assert first.startswith("import experiments.harness.environment ")


class Clone:
    """A checkout of what a script meets first, and a Python without packages that runs a script of it."""

    def __init__(self, root: Path, bare: Path) -> None:
        self.root, self._bare = root, bare
        for name in (
            "requirements.txt",
            "pyproject.toml",
            "can/__init__.py",
            "can/system/__init__.py",
            "can/commands/__init__.py",
            "can/commands/environment.py",
            "can/system/machine.py",
            "can/system/start.py",
            "can/system/surroundings.py",
            "experiments/__init__.py",
            "experiments/experiments.py",
            "experiments/setup.sh",
            "experiments/harness/__init__.py",
            "experiments/harness/environment.py",
            "experiments/harness/requirements.py",
            "experiments/benchmarks/experiments.py",
            "analysis/experiments.py",
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
        for folder in ("experiments", "experiments/benchmarks", "analysis"):
            (root / folder / "script.py").write_text(
                "import experiments.harness.environment\nimport can, sys, tabulate\nprint(can.__file__, sys.argv[1:])\n"
            )
        self.python = root.parent / "python"  # makes .venv, and puts PIP in the place of its Python
        self.python.write_text(MAKER)
        (root.parent / "pip").write_text(PIP)
        for made in (self.python, root.parent / "pip"):
            made.chmod(0o755)

    def run(self, folder: str, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output and standard error of the folder's script."""
        own = {key: value for key, value in os.environ.items() if not key.startswith(("CAN_", "PYTHON"))}
        own |= {"CAN_PYTHON": str(self.python), "PACKAGES": sysconfig.get_path("purelib"), "LD_PRELOAD": ""}
        script = [self._bare, self.root / folder / "script.py", *arguments]
        done = subprocess.run(script, env=own, cwd="/", capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("a clone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "bare"], check=True)
    return Clone(folder / "can", folder / "bare" / "bin" / "python")


def test_after_git_clone_a_script_runs_under_a_python_without_packages_and_says_what_it_does(clone: Clone) -> None:
    expected = f"{clone.root}/can/__init__.py ['--a b']\n"
    status, out, error = clone.run("analysis", "--a b")
    assert (status, out) == (0, expected), error
    assert error.count("\n") == 3 and "setting .venv up" in error and "making .venv" in error
    for folder in ("experiments", "experiments/benchmarks"):  # now .venv is there, and is not activated
        status, out, error = clone.run(folder, "--a b")
        assert (status, out) == (0, expected), error
        assert error.count("\n") == 1 and error.endswith("going on with .venv/bin/python\n")


def test_an_environment_that_lost_its_packages_is_completed_by_the_script_that_misses_them(clone: Clone) -> None:
    clone.run("analysis")
    (packages,) = (clone.root / ".venv" / "lib").glob("python*/site-packages")
    (packages / "all.pth").unlink()
    status, _, error = clone.run("analysis")
    assert status == 0 and "going on with .venv" in error and "setting .venv up" in error and "making" not in error


def test_where_setting_up_does_not_help_a_script_ends_with_a_line(clone: Clone) -> None:
    required = clone.root / "requirements.txt"
    kept = required.read_text()
    required.write_text(f"{kept}no-such-package==1\n")
    status, out, error = clone.run("analysis")
    required.write_text(kept)
    assert (status, out) == (1, "")
    assert "lacks no-such-package: set the environment up" in error.splitlines()[-1] and "Traceback" not in error


def test_a_script_imports_the_checkout_that_it_lies_in_though_another_one_is_installed(clone: Clone) -> None:
    """As after `cp -r can can2`, whose .venv names the first one's files."""
    clone.run("analysis")
    (packages,) = (clone.root / ".venv" / "lib").glob("python*/site-packages")
    (packages / "can.pth").write_text(str(REPOSITORY))
    try:
        assert clone.run("experiments")[1].startswith(f"{clone.root}/can/")
    finally:
        (packages / "can.pth").unlink()


def test_every_folder_of_commands_has_what_a_bare_python_needs() -> None:
    assert [script for script in COMMANDS if not (script.parent / "experiments.py").exists()] == []


@pytest.mark.parametrize(
    ("room", "behind"), [("can", "experiments|analysis"), ("can", r"can\.commands"), ("experiments", "analysis")]
)
def test_no_arrow_goes_back(room: str, behind: str) -> None:
    back = re.compile(rf'^\s*(from|import) ({behind})\b|import_module\("({behind})\b', re.MULTILINE)
    ends = ("can/commands", "can/__main__.py") if "commands" in behind else ()
    sources = [path.relative_to(REPOSITORY) for path in (REPOSITORY / room).rglob("*.py")]
    sources = [path for path in sources if not str(path).startswith(ends)]
    assert sources and [path for path in sources if back.search((REPOSITORY / path).read_text(encoding="utf-8"))] == []


def test_every_requirement_is_pinned_to_one_version() -> None:
    pinned = re.compile(r'[\w-]+==[\w.]+(; sys_platform == "linux")?')
    for name in ("requirements.txt", "requirements-peers.txt", "requirements-peers-alone.txt"):
        lines = [line.split("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines()]
        assert [line for line in lines if line and not pinned.fullmatch(line)] == []
