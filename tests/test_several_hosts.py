"""Commands of several processes, as several hosts start them: the numbers of one, one writer, one mind."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import Commands

from experiments.harness.several_hosts import are_found

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
ROW = "can/vit_b/800"
Command = Callable[..., list["subprocess.CompletedProcess[str]"]]


@pytest.fixture
def start(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> Command:
    """`start(count, script, *flags, devices=1, of_second=())`: what each of so many processes left."""

    def run(count: int, script: str, *given: str, devices: int = 1, of_second: tuple[str, ...] = ()) -> list:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]

        def one(index: int) -> subprocess.CompletedProcess[str]:
            who = (f"--coordinator=localhost:{port}", f"--num_processes={count}", f"--process_id={index}")
            more = of_second if index else ()
            return run_python(
                EXPERIMENTS / script, *given, *more, *(who if count > 1 else ()), devices=devices, check=False
            )

        with ThreadPoolExecutor(count) as processes:
            return list(processes.map(one, range(count)))

    return run


def folders(tmp_path: Path, name: str) -> tuple[str, str]:
    return f"--results_dir={tmp_path / name / 'results'}", f"--workdir={tmp_path / name / 'work'}"


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command says of its results; JAX's CPU backend also says that the processes are connected."""
    return [line for line in done.stdout.splitlines() if not line.startswith("[Gloo]")]


def numbers(results: Path) -> dict[str, list[float]]:
    """Every loss of every step, and every number of every evaluation."""
    with (results / "train.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    found = {f"step {row['step']:g}": [row["loss"], row["grad_norm"], row["param_norm"]] for row in rows}
    for path in sorted(results.glob("eval-*.json")):
        found[path.name] = [record["value"] for record in json.loads(path.read_text())["records"]]
    return found


RUN = ("--scale=smoke", "--method=can", "--model=vit_b", "--data=jft", "--epochs=800")


def check_equal(made: Path, expected: Path) -> None:
    ours, theirs = numbers(made), numbers(expected)
    assert ours.keys() == theirs.keys() and len(theirs) >= 3
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name


def test_two_processes_make_one_table_with_the_numbers_of_one(
    start: Command, commands: Commands, tmp_path: Path
) -> None:
    flags = ("--scale=smoke", f"--rows={ROW}")
    first, second = start(2, "table2_jft.py", *flags, *folders(tmp_path, "two"))
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert "| CAN " in first.stdout and not told(second)
    evals = "--eval=finetune,few_shot"
    first, second = start(2, "evaluate.py", *RUN, evals, *folders(tmp_path, "two"))
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert "few_shot smoke/1shot" in first.stdout and not told(second)

    assert commands("experiments/table2_jft.py", *flags, "--jobs=1", *folders(tmp_path, "one")).returncode == 0
    assert commands("experiments/evaluate.py", *RUN, evals, *folders(tmp_path, "one")).returncode == 0
    check_equal(*(tmp_path / name / "results" / "smoke" / "can-vitb-jft-e800-s0" for name in ("two", "one")))


def test_two_processes_with_two_devices_each_split_parameters_too(
    start: Command, commands: Commands, tmp_path: Path
) -> None:
    ended = start(2, "pretrain.py", *RUN, "--fsdp=2", *folders(tmp_path, "two"), devices=2)
    assert [done.returncode for done in ended] == [0, 0], ended[1].stderr
    assert commands("experiments/pretrain.py", *RUN, *folders(tmp_path, "one")).returncode == 0
    check_equal(*(tmp_path / name / "results" / "smoke" / "can-vitb-jft-e800-s0" for name in ("two", "one")))


def test_hosts_that_disagree_do_not_start(start: Command, tmp_path: Path) -> None:
    flags = ("--scale=smoke", "--method=mae", "--epochs=100", *folders(tmp_path, "no"))
    ended = start(2, "pretrain.py", *flags, of_second=("--base_lr=.1",))
    assert [done.returncode for done in ended] == [1, 1]
    for index, done in enumerate(ended):
        assert done.stderr.strip().splitlines()[-1] == (
            f"[process {index} of 2] error: process 1 has another command line than process 0: "
            "start all with the same command, code and data"
        )
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--num_processes=2",), "--num_processes need --coordinator and --process_id too"),
        (
            ("--coordinator=localhost:1", "--num_processes=2", "--process_id=2"),
            "--process_id=2 is none of 0 to 1",
        ),
    ],
)
def test_who_a_process_is_is_said_whole(run_python, given: tuple[str, ...], message: str) -> None:
    done = run_python(EXPERIMENTS / "pretrain.py", "--scale=smoke", *given, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {message}\n")


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7"}, False),  # a batch script, before srun
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "host-0"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
    ],
)
def test_several_processes_are_found_by_what_started_them(environment: dict[str, str], several: bool) -> None:
    assert are_found(environment) == several
