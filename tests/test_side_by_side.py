"""Processes side by side: their cores, the order of their work, and how they end."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from side_by_side_calls import begin, where, work

from can.commands import environment
from can.commands.scales import scale_named
from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from can.errors import ConfigError, UserError
from can.recipes.debian import DebianPackage, PackageUnavailable
from can.system import machine
from can.system.machine import usable_cpus
from experiments.harness import table
from experiments.harness.plan import both_ends, planned
from experiments.harness.side_by_side import Processes, _share_of_cores

REPOSITORY = Path(__file__).resolve().parent.parent
SEARCH = {"PYTHONPATH": str(REPOSITORY)}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot tie a process to cores")
def test_processes_begin_alike_and_split_the_cores() -> None:
    before = os.sched_getaffinity(0)
    with Processes(2, begin) as processes:
        found = processes.each(where)
    assert [word for word, _ in found] == ["hello", "hello"]
    first, second = (cores for _, cores in found)
    assert first | second == before == os.sched_getaffinity(0)
    assert not first & second or len(before) == 1


def test_work_goes_to_the_process_that_is_idle_first_and_results_come_as_they_are_ready(tmp_path: Path) -> None:
    """The long one takes until all others are done."""
    done = tmp_path / "done"
    workers = {}
    with Processes(2, begin) as processes:
        for name, worker in processes.map_unordered(work, [("wait", str(done)), ("a",), ("b",), ("c",)]):
            workers[name] = worker
            if name == "c":
                done.touch()
    assert list(workers) == ["a", "b", "c", "wait"]
    assert workers["a"] == workers["b"] == workers["c"] != workers["wait"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [("wrong", ConfigError, "cannot work"), ("killed", UserError, "lack of memory")],
)
def test_a_call_that_fails_ends_the_others(name: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    """The other one would never end by itself."""
    never = str(tmp_path / "never")
    with pytest.raises(error, match=message), Processes(2, begin) as processes:
        list(processes.map_unordered(work, [("wait", never), (name,), ("wait", never)]))
    assert not multiprocessing.active_children()


def test_an_error_that_says_which_package_is_missing_comes_back_from_a_process_whole() -> None:
    error = PackageUnavailable(DebianPackage("clip-art", "pool", "0", "usr"), Path("data"), "no network")
    returned = pickle.loads(pickle.dumps(error))
    assert (type(returned), str(returned)) == (PackageUnavailable, str(error))


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\n"
        "from experiments.harness.side_by_side import Processes\n"
        "def begin(): print(os.getpid(), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    with Processes(2, begin) as processes: processes.each(time.sleep, 60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ | SEARCH)
    assert parent.stdout is not None
    children = [int(parent.stdout.readline()) for _ in range(2)]
    assert parent.pid not in children
    parent.kill()
    parent.communicate(timeout=30)  # returns once nobody is left who could write to the pipe


def test_ctrl_c_while_processes_are_started_is_not_lost() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    try:
        with pytest.raises(KeyboardInterrupt), _share_of_cores(0, 1):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "CGROUP_LIMIT", limit)
    whole = machine.usable_memory_gb()
    for text, expected in (("max\n", whole), ("1500000000\n", 1.5), (f"{2**62}\n", whole)):
        limit.write_text(text)
        assert machine.usable_memory_gb() == expected


def test_one_run_a_core_where_memory_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "usable_memory_gb", lambda: 8.0)
    monkeypatch.setattr(environment, "HAS_ACCELERATOR", False)
    assert table.jobs(None, None) == 1
    monkeypatch.setattr(table, "usable_cpus", lambda: 4)
    assert [table.jobs(None, gb) for gb in (1.5, 1.6, 2.3, 6.0, 7.0)] == [4, 3, 2, 1, 1]
    assert table.jobs(3, 7.0) == 3
    with pytest.raises(ConfigError, match="at least 1, not 0"):
        table.jobs(0, None)
    monkeypatch.setattr(environment, "HAS_ACCELERATOR", True)
    assert table.jobs(None, 1.5) == 1
    with pytest.raises(ConfigError, match="--jobs=2 is for CPUs"):
        Processes(2, begin)


def test_runs_at_a_time_begin_at_both_ends_of_each_seed() -> None:
    needs = [Need(Spec("can", "vit_l", "jft", epochs)) for epochs in (100, 200, 300, 400, 500)]
    tasks = planned(needs, Setting(scale_named("smoke")), seeds=[0, 1])
    order = [(task.run.config.seed, task.run.spec.epochs) for task in both_ends(tasks)]
    assert order == [(seed, epochs) for seed in (0, 1) for epochs in (100, 500, 200, 400, 300)]


def test_specs_that_are_one_run_are_one_task_with_all_their_evaluations() -> None:
    base = Spec("can", "vit_b", "in1k", 100)
    needs = [
        Need(base),
        Need(base.but(mask_rate=0.5), ("final_losses", "linear_probe")),
        Need(base.but(mask_rate=0.75)),
    ]
    tasks = planned(needs, Setting(scale_named("smoke")), seeds=[0])
    assert [task.evals for task in tasks] == [("linear_probe", "final_losses"), ("linear_probe",)]
    assert [task.place for task in tasks] == ["[1/2]", "[2/2]"]


def test_programs_compiled_for_another_number_of_cores_are_kept_apart(tmp_path: Path) -> None:
    """JAX's cache would serve a program compiled for one core to a process with two."""

    def folder(**variables: str) -> str:
        kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        code = "import os, experiments.harness.environment; print(os.environ['JAX_COMPILATION_CACHE_DIR'])"
        command = [sys.executable, "-c", code]
        variables = kept | SEARCH | {"XDG_CACHE_HOME": str(tmp_path)} | variables
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.strip()

    own = folder()
    assert own == str(tmp_path / "can" / "xla" / f"{usable_cpus()}_cpus")
    assert folder(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "can" / "xla" / "99_cpus")) == own  # of a parent process
    assert folder(JAX_COMPILATION_CACHE_DIR=str(tmp_path)) == str(tmp_path)  # a user's own
