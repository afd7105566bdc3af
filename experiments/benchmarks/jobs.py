"""One run on all cores, and several at a time: `python experiments/benchmarks/jobs.py --scale=laptop --jobs=2`.

Each of the runs at a time has cores of its own. Steps of both take turns, and with them the matrix product on all cores
that the shares of the peak are of. Rows go to `results/<scale>/jobs.csv`, in place of those of the same setting. Every
hyper-parameter is a flag. It says first how long it takes.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from typing import Any

from absl import flags

from can.commands import cli
from can.system.machine import usable_cpus
from experiments.benchmarks import measurement, runs_at_a_time, subjects
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.subjects import Configs, Subject, Work
from experiments.harness.side_by_side import check_jobs
from experiments.harness.timing import Program, interleaved
from experiments.harness.training_step import TrainingStep


def measure(configs: Configs, work: Work, rounds: int, jobs: int) -> dict[Subject, Measurement]:
    """Times the step of each subject in one run on all cores, and in `jobs` runs that share them."""
    programs: dict[Any, Program] = {"matmul": work.matmul.program}
    with runs_at_a_time.RunsAtATime(jobs) as runs:
        for subject, config in configs.items():
            programs[subject, "alone"] = TrainingStep(config).whole
            programs[subject, "together"] = runs.training_steps(subject, config)
            subjects.say(f"{subject}: compiled")
        seconds = interleaved(programs, rounds)
    return {
        subject: measurement.jobs_speed(
            seconds[subject, "alone"],
            seconds[subject, "together"] / runs_at_a_time.STEPS,
            work.matmul.flops / seconds["matmul"],
            jobs,
            flops=work.flops[subject],
            batch_size=config.optim.batch_size,
        )
        for subject, config in configs.items()
    }


def main() -> None:
    """Measures what the flags name, prints a line of each and writes the rows."""
    values = flags.FLAGS
    jobs = usable_cpus() if values.jobs is None else values.jobs
    check_jobs(jobs)
    configs = subjects.of_flags()
    work = Work.of(configs)
    subjects.say(work.plan(values.rounds, turns=1 + runs_at_a_time.STEPS * jobs))
    found = measure(configs, work, values.rounds, jobs)
    for subject, one in found.items():
        print(
            f"{subject}: one run {one['alone_s'] * 1000:.1f} ms a step, {jobs} runs {one['together_s'] * 1000:.1f} ms "
            f"each; all make {one['speedup']:.2f} times as many steps a second as one"
        )
    subjects.save("jobs", configs, found, "jobs")


if __name__ == "__main__":
    subjects.define_flags()
    flags.DEFINE_integer("jobs", None, "runs at a time; default: as many as there are cores")
    cli.run(main)
