"""Commands of several processes, as several hosts start them: the numbers of one, one writer, one mind."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from absl import flags
from commands import Commands
from hosts import REPOSITORY, Hosts

from can.commands.several_hosts import _patience, _shared_command, are_found


def folders(tmp_path: Path, name: str) -> tuple[str, str]:
    return f"--results_dir={tmp_path / name / 'results'}", f"--workdir={tmp_path / name / 'work'}"


def numbers(results: Path) -> dict[str, list[float]]:
    """Every loss of every step, and every number of every evaluation."""
    with (results / "train.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    found = {f"step {row['step']:g}": [row["loss"], row["grad_norm"], row["param_norm"]] for row in rows}
    for path in sorted(results.glob("eval-*.json")):
        found[path.name] = [record["value"] for record in json.loads(path.read_text())["records"]]
    return found


SMALL = ("--depth=1", "--decoder_depth=1")
RUN = ("--scale=smoke", "--method=can", "--model=vit_b", "--data=jft", "--epochs=800", *SMALL)


def results(tmp_path: Path, name: str) -> Path:
    """Of RUN."""
    (made,) = (tmp_path / name / "results" / "smoke").glob("can-vitb-jft-e800-*-s0/")
    return made


def check_equal(made: Path, expected: Path) -> None:
    ours, theirs = numbers(made), numbers(expected)
    assert ours.keys() == theirs.keys() and len(theirs) >= 3
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name


def test_two_processes_make_one_table_with_the_numbers_of_one(commands: Commands, tmp_path: Path) -> None:
    flags = ("--scale=smoke", "--rows=can/vit_b/800", *SMALL)
    with Hosts(tmp_path / "table", 2, "table2_jft.py", *flags, *folders(tmp_path, "two")) as hosts:
        assert hosts.wait() == [0, 0], hosts.err(1)
    assert "| CAN " in hosts.out(0) and not hosts.out(1)
    evals = "--eval=finetune,few_shot"
    with Hosts(tmp_path / "evals", 2, "evaluate.py", *RUN, evals, *folders(tmp_path, "two")) as hosts:
        assert hosts.wait() == [0, 0], hosts.err(1)
    assert "few_shot smoke/1shot" in hosts.out(0) and not hosts.out(1)

    assert commands("experiments/table2_jft.py", *flags, "--jobs=1", *folders(tmp_path, "one")).returncode == 0
    assert commands("experiments/evaluate.py", *RUN, evals, *folders(tmp_path, "one")).returncode == 0
    check_equal(*(results(tmp_path, name) for name in ("two", "one")))


@pytest.mark.long
def test_a_run_of_four_processes_is_stopped_and_goes_on_with_two_that_share_parameters_otherwise(
    commands: Commands, tmp_path: Path
) -> None:
    """SIGTERM at one of them, as before a machine is taken away, stops all; the log has no gap and no row twice."""
    run = (
        "pretrain.py",
        *RUN,
        "--total_steps=8",
        "--checkpoint_every=1",
        "--name=run",
    )
    with Hosts(tmp_path / "four", 4, *run, "--fsdp=4", *folders(tmp_path, "several")) as hosts:
        hosts.wait_until((tmp_path / "several" / "work" / "smoke" / "run" / "state" / "1").exists)
        hosts.signal(2, signal.SIGTERM)
        assert hosts.wait() == [128 + signal.SIGTERM] * 4, hosts.err(0)
    for index in range(4):
        assert "the same command goes on from the last checkpoint" in hosts.err(index)
    with Hosts(tmp_path / "two", 2, *run, "--fsdp=2", *folders(tmp_path, "several"), devices=2) as hosts:
        assert hosts.wait() == [0, 0], hosts.err(1)
    assert commands("experiments/" + run[0], *run[1:], *folders(tmp_path, "one")).returncode == 0
    check_equal(*(tmp_path / name / "results" / "smoke" / "run" for name in ("several", "one")))


@pytest.mark.long
def test_a_signal_before_the_first_step_ends_all(tmp_path: Path) -> None:
    """JAX would note SIGTERM for itself, and go on."""
    flags = ("--scale=smoke", "--rows=can/vit_b/800", *folders(tmp_path, "no"))
    with Hosts(tmp_path / "said", 2, "table2_jft.py", *flags) as hosts:
        hosts.wait_until(lambda: "not pre-trained yet" in hosts.err(0), seconds=300)
        hosts.signal(1, signal.SIGTERM)
        codes = hosts.wait(120)
    assert codes[1] == 128 + signal.SIGTERM and codes[0], hosts.err(1)
    assert not list((tmp_path / "no").glob("results/smoke/*/provenance.json"))


def is_open(port: int) -> bool:
    with socket.socket() as ours:
        return ours.connect_ex(("localhost", port)) == 0


def test_a_signal_ends_a_process_that_waits_for_the_others(tmp_path: Path) -> None:
    """JAX waits five minutes for them, in a call that holds up Python's handlers."""
    with Hosts(tmp_path, 2, "pretrain.py", *RUN, *folders(tmp_path, "no")) as hosts:
        hosts.signal(1, signal.SIGKILL)
        hosts.wait_until(lambda: is_open(hosts.port))
        hosts.signal(0, signal.SIGTERM)
        assert hosts.wait(30) == [-signal.SIGTERM, -signal.SIGKILL], hosts.err(0)


def test_hosts_that_disagree_do_not_start(tmp_path: Path) -> None:
    flags = ("--scale=smoke", "--method=mae", "--epochs=100", *folders(tmp_path, "no"))
    with Hosts(tmp_path / "said", 2, "pretrain.py", *flags, of_second=("--base_lr=.1",)) as hosts:
        assert hosts.wait() == [1, 1]
    for index in range(2):
        assert hosts.err(index).strip().splitlines()[-1] == (
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
        (
            ("--coordinator=localhost:abc", "--num_processes=2", "--process_id=1"),
            "--coordinator=localhost:abc is not HOST:PORT, such as localhost:9999, and not auto",
        ),
        (
            ("--coordinator=localhost:99999", "--num_processes=2", "--process_id=1"),
            "--coordinator=localhost:99999 is not HOST:PORT, such as localhost:9999, and not auto",
        ),
    ],
)
def test_who_a_process_is_is_said_whole(run_python, given: tuple[str, ...], message: str) -> None:
    done = run_python(REPOSITORY / "experiments" / "pretrain.py", "--scale=smoke", *given, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {message}\n")


@pytest.mark.parametrize(
    ("index", "whom"), [(0, "the others, which come to localhost:1"), (1, "process 0 at localhost:1")]
)
def test_a_process_says_at_once_whom_it_waits_for_and_ends_after_a_time_that_is_set(
    index: int, whom: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda status: ended.set())
    who = {"coordinator": "localhost:1", "num_processes": 2, "process_id": index}
    with _patience(who, 0.01):
        assert ended.wait(30)
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"process {index} of 2 waits for {whom}, at most 0.01 s (--join_seconds)"
    assert last.startswith(f"error: process {index} of 2 has waited 0.01 s for {whom}: start all of them")
    with _patience(who, 30):  # one that meets the others lives on
        pass


def test_both_spellings_of_a_flag_are_one_command_line() -> None:
    def shared(*given: str) -> str:
        values = flags.FlagValues()
        flags.DEFINE_integer("process_id", None, "", flag_values=values)
        flags.DEFINE_integer("seed", 0, "", flag_values=values)
        values(["x.py", *given])
        return _shared_command(values)

    assert shared("--process_id", "1", "--seed", "3") == shared("--seed=3", "--process_id=0") == shared("-seed=3")
    assert shared("--seed=3") != shared("--seed=4") != shared()


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
