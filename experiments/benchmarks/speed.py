"""How fast the training step is, and where its time goes: `python experiments/benchmarks/speed.py --scale=laptop`.

    python experiments/benchmarks/speed.py --scale=paper --models=L --depth=2 --decoder_depth=1 --batch_size=16
    python experiments/benchmarks/speed.py --scale=paper --models=S --batch_size=16 --peer=torch
    python experiments/benchmarks/speed.py --scale=laptop --jobs=2

All methods and models of a start take turns, in one process but for --jobs, and with them the matrix product that this
machine is fastest at, so that shares and ratios are of the same minutes. It says first what it will do and how long
that takes: at `laptop` about four minutes on two cores. Rows go to `results/<scale>/benchmark.csv`, with --peer to
`benchmark_peers.csv` and with --jobs to `benchmark_jobs.csv`, in place of those of the same setting. Every
hyper-parameter is a flag.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import importlib
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from absl import flags

from can.config import RunConfig
from can.errors import ConfigError, UserError, check_choice
from can.machine import usable_cpus
from can.run_flops import necessary_matmul_flops
from can.runs.provenance import LOADED, cpu_model, peak_memory_mb
from experiments.benchmarks import jobs as benchmark_jobs
from experiments.benchmarks import rows as benchmark_rows
from experiments.benchmarks.rows import Row
from experiments.benchmarks.step import NUM_CLASSES, TrainingStep
from experiments.harness import cli, scales
from experiments.harness import flags as setting_flags
from experiments.harness.cost import UTILISATION
from experiments.harness.side_by_side import check_jobs
from experiments.harness.spec import Spec
from experiments.harness.timing import Matmul, Program, best_matmul, interleaved

METHODS = ("can", "simclr", "mae", "supervised")
COMPILATION = 20  # seconds a method and model, beginnings included: an assumption, printed with the plan


class Subject(NamedTuple):
    """What is measured: a method and a model."""

    method: str
    model: str

    def __str__(self) -> str:
        return f"{self.method}/{self.model}"


def subjects(methods: Sequence[str], models: Iterable[str]) -> dict[Subject, RunConfig]:
    """The configurations that the flags describe. Raises ConfigError for an unknown name or an impossible setting."""
    for method in methods:
        check_choice("method to time", method, METHODS)
    named = [Subject(method, model) for model in models for method in methods]
    setting = setting_flags.setting()
    return {subject: setting.run(Spec(*subject, "in1k", 800), seed=0).config for subject in named}


def measure(configs: dict[Subject, RunConfig], flops: dict[Subject, int], matmul: Matmul, rounds: int) -> list[Row]:
    """A row of `benchmark.csv` for each subject; `flops` are those of the matrix products of a step."""
    steps = {}
    programs: dict[Any, Program] = {"matmul": matmul.program}
    for subject, config in configs.items():
        step = steps[subject] = TrainingStep(config)
        programs |= {(subject, part): program for part, program in step.beginnings().items()}
        _say(f"{subject}: compiled, the whole step in {step.compile_seconds:.1f} s")
    seconds = interleaved(programs, rounds)

    peak = matmul.flops / seconds["matmul"]
    rows = []
    for subject, config in configs.items():
        beginnings = {part: seconds[subject, part] for part in steps[subject].parts}
        row = benchmark_rows.setting(config)
        row |= benchmark_rows.step_row(beginnings, peak, flops=flops[subject], batch_size=config.optim.batch_size)
        rival, last = subject._replace(method="simclr"), steps[subject].parts[-1]
        if rival in configs:
            row |= benchmark_rows.ratio_row(seconds[rival, last], flops[rival], seconds[subject, last], flops[subject])
        rows.append(row | dict(compile_s=steps[subject].compile_seconds, memory_mb=steps[subject].memory >> 20))
    return rows


def compare(peers: ModuleType, configs: dict[Subject, RunConfig], rounds: int) -> list[Row]:
    """A row of `benchmark_peers.csv` for each subject: our step and the peer's, without augmentation."""
    programs: dict[Any, Program] = {}
    for subject, config in configs.items():
        programs[subject, "ours"] = TrainingStep(config).whole
        programs[subject, "theirs"] = peers.training_step(config, usable_cpus())
        _say(f"{subject}: compiled")
    seconds = interleaved(programs, rounds)
    return [
        benchmark_rows.setting(config)
        | dict(peer="torch")
        | benchmark_rows.peer_row(seconds[subject, "ours"], seconds[subject, "theirs"])
        for subject, config in configs.items()
    ]


def share_cores(
    configs: dict[Subject, RunConfig], flops: dict[Subject, int], matmul: Matmul, rounds: int, jobs: int
) -> list[Row]:
    """A row of `benchmark_jobs.csv` for each subject: one run on all cores, and `jobs` at a time that share them."""
    programs: dict[Any, Program] = {"matmul": matmul.program}
    with benchmark_jobs.RunsAtATime(jobs) as runs:
        for subject, config in configs.items():
            programs[subject, "alone"] = TrainingStep(config).whole
            programs[subject, "together"] = runs.training_steps(subject, config)
            _say(f"{subject}: compiled")
        seconds = interleaved(programs, rounds)
    return [
        benchmark_rows.setting(config)
        | benchmark_rows.jobs_row(
            seconds[subject, "alone"],
            seconds[subject, "together"] / benchmark_jobs.STEPS,
            matmul.flops / seconds["matmul"],
            jobs,
            flops=flops[subject],
            batch_size=config.optim.batch_size,
        )
        for subject, config in configs.items()
    ]


def main() -> None:
    """Measures what the flags name, writes the rows and prints the tables."""
    values = flags.FLAGS
    if values.rounds < 1:
        raise ConfigError(f"--rounds must be at least 1, not {values.rounds}")
    if values.jobs is not None:
        check_jobs(values.jobs)
    if values.jobs and values.peer:
        raise ConfigError("--jobs and --peer are two comparisons: pass one of them")
    configs = subjects(values.methods, values.models or scales.scale_named(values.scale).models)
    if values.peer:
        peers = _peers()
        configs = {
            subject: peers.same_model(config) for subject, config in configs.items() if subject.method in peers.METHODS
        }
        if not configs:
            raise ConfigError(f"--peer has no {', '.join(values.methods)}: pass --methods={','.join(peers.METHODS)}")

    matmul = best_matmul(next(iter(configs.values())).model.dtype)
    # What a step has to compute: to compute it twice is no achievement.
    flops = {subject: necessary_matmul_flops(config, NUM_CLASSES) for subject, config in configs.items()}
    # In steps: ours and the peer's; ours and those of all runs at a time; or beginnings of .05, .35 and 1 of ours.
    turns = 2 if values.peer else 1 + benchmark_jobs.STEPS * values.jobs if values.jobs else 2.4
    _say(_plan(flops, matmul, values.rounds, turns))
    if values.peer:
        rows, name, tables = compare(peers, configs, values.rounds), "benchmark_peers", ["peers"]
    elif values.jobs:
        rows = share_cores(configs, flops, matmul, values.rounds, values.jobs)
        name, tables = "benchmark_jobs", ["jobs"]
    else:
        rows = measure(configs, flops, matmul, values.rounds)
        name, tables = "benchmark", ["speed", "parts", "ratios"]

    measured = datetime.now(UTC).isoformat(timespec="seconds")
    circumstances = dict(
        rounds=values.rounds,
        cpus=usable_cpus(),
        cpu=cpu_model(),
        process_peak_mb=peak_memory_mb(),
        measured=measured,
        **LOADED,
    )
    columns = [*benchmark_rows.setting(next(iter(configs.values()))), "jobs"]
    path = Path(values.results_dir) / values.scale / f"{name}.csv"
    benchmark_rows.add_rows(path, [row | circumstances for row in rows], columns)
    renderers = importlib.import_module("analysis.lib.benchmark_tables").TABLES
    print("\n\n".join(renderers[table](Path(values.results_dir), values.scale) for table in tables))


def _plan(flops: dict[Subject, int], matmul: Matmul, rounds: int, turns: float) -> str:
    speed = matmul.flops_per_second * UTILISATION
    minutes = (sum(flops.values()) / speed * turns * (2 * rounds + 1) + COMPILATION * len(flops)) / 60
    return (
        f"{', '.join(map(str, flops))}: {rounds} rounds of each, about {minutes:.0f} minutes at {UTILISATION:.0%} of "
        f"this machine's {matmul.flops_per_second / 1e9:.0f} GFLOP/s (products of {matmul.size})"
    )


def _peers() -> ModuleType:
    try:
        return importlib.import_module("experiments.benchmarks.peers")
    except ModuleNotFoundError as error:
        raise UserError(
            f"--peer=torch needs {error.name}, which is not installed: "
            "`python -m pip install -r requirements-peers.txt -c requirements.txt`"
        ) from error


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_list("methods", ["can", "simclr", "mae"], f"methods to time, of {', '.join(METHODS)}")
    flags.DEFINE_list("models", [], "roles or sizes of models; default: the scale's two")
    flags.DEFINE_integer("rounds", 10, "measurements of each program")
    flags.DEFINE_integer("jobs", None, "compare one run on all cores with so many at a time, each on its own, instead")
    flags.DEFINE_enum("peer", None, ["torch"], "compare with the same models in PyTorch instead")
    cli.run(main)
